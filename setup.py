"""What pyproject.toml cannot say: the folder `src` is the package `calcarine`, and `configs` travels inside it."""

from setuptools import find_namespace_packages, setup

rooms = find_namespace_packages("src", exclude=["*__pycache__*"])

setup(
    packages=["calcarine", *(f"calcarine.{room}" for room in rooms), "calcarine.configs"],
    package_dir={"calcarine": "src", "calcarine.configs": "configs"},
    package_data={"": ["*"], "calcarine.configs": ["*.yaml", "search/*.yaml"]},  # templates and the schema, too
)
