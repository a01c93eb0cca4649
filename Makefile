.PHONY: help check test soak schema train tune docs bench

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/'

check:  ## formatting, lint, types and the import rules
	uv run ruff format --check .
	uv run ruff check .
	uv run pyright
	uv run lint-imports

test:  ## the whole suite
	uv run pytest

soak:  ## kill commands at random moments for ten minutes; SOAK="--minutes 60 --seed 3" for longer, or again
	uv run python tests/soak/soak.py $(SOAK)

schema:  ## write src/command_line/schema.json again, after a flag, a class or a docstring has changed
	uv run python -m calcarine.run.schema

train:  ## one run on the simulated subject
	uv run train.py

tune:  ## a small study on the simulated subject
	uv run tune.py

docs:  ## the site, into site/; a warning is an error
	mkdir -p build/package && ln -sfn ../../src build/package/calcarine
	uv run --group docs mkdocs build --strict --quiet

bench:  ## every benchmark, and their table benchmarks/RESULTS.md
	uv run python benchmarks
