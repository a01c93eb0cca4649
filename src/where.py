"""Where things are: the configs that travel with the package, and where runs go unless `--runs` says otherwise."""

from importlib.resources import files
from pathlib import Path

CONFIGS = Path(str(files("calcarine.configs")))
DEFAULT_CONFIG = CONFIGS / "default.yaml"
"""Lies beneath every run's own."""
SEARCHES = CONFIGS / "search"
RUNS = Path("runs")
