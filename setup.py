"""What pyproject.toml cannot say: the folder `src` is the package `calcarine`, and `configs` travels inside it."""

from setuptools import find_namespace_packages, setup

setup(
    packages=["calcarine", *(f"calcarine.{name}" for name in find_namespace_packages("src")), "calcarine.configs"],
    package_dir={"calcarine": "src", "calcarine.configs": "configs"},
    package_data={
        "calcarine.configs": ["*.yaml", "search/*.yaml"],
        "calcarine.evaluation": ["templates/*"],
        "calcarine.study.outcome": ["templates/*"],
    },
)
