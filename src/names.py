"""Names that stand in files and between all rooms: of splits, and of hemispheres."""

TRAIN, VALIDATION, TEST, WITHHELD, UNASSIGNED = "train", "validation", "test", "withheld", ""
HELD_OUT = (VALIDATION, TEST, WITHHELD)
"""Splits that a model is evaluated on, in the order of the test's loaders."""
HEMISPHERES = ("lh", "rh")
