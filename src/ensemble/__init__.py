"""Finished runs as one: their predictions averaged or stacked, scored as a run. Imports neither torch nor lightning."""
