"""Where things are: the configs that travel with the package, and where runs go unless `--runs` says otherwise."""

from importlib.resources import files
from pathlib import Path

CONFIGS = Path(str(files("calcarine.configs")))
SEARCHES = CONFIGS / "search"
RUNS = Path("runs")
