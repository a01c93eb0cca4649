"""Where things are: the configs that travel with the package, and the folder that runs go to."""

from importlib.resources import files
from pathlib import Path

CONFIGS = Path(str(files("calcarine.configs")))
SEARCHES = CONFIGS / "search"
