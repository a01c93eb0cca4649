"""Names that stand in files and between all rooms: of splits, and of hemispheres."""

TRAIN, VALIDATION, TEST, WITHHELD, UNASSIGNED = "train", "validation", "test", "withheld", ""
LEAKING = "leaking"
"""Training stimuli that a held-out split shows too: they are left out of every split."""
HELD_OUT = (VALIDATION, TEST, WITHHELD)
"""Splits that a model is evaluated on, in the order of the test's loaders; test sets with names of their own follow."""
FOLD = "fold"
"""Part of the training split that a member of a stack is not trained on, and predicts."""
OWN_SPLITS = (UNASSIGNED, TRAIN, *HELD_OUT, LEAKING)
"""Names that no test set may have."""
HEMISPHERES = ("lh", "rh")
BESIDE = "beside:"
"""How the names of layers begin that are no image's."""
PREVIOUS = f"{BESIDE}previous"
"""Components of the stimuli before, which share one scale as those of a reduction do."""
IMAGE_ALONE = "image_alone"
"""What a model with inputs beside the image predicts with their training mean in their place."""


def by_importance(split: str) -> tuple[int, str]:
    """Key by which splits are sorted for people: the test split, test sets by name, the validation split."""
    return {TEST: 0, VALIDATION: 2}.get(split, 1), split
