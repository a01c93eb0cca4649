"""What a package holds, by name."""

MODEL = "model.json"
"""How the model is made, in plain JSON; what makes a folder a package."""
WEIGHTS = "model.safetensors"
"""Every tensor that `model.json` names: the model's, its encoder's, and what is known of the targets."""
TARGETS = "targets.csv"
SCORES = "scores.csv"
RUN = "run.json"
CARD = "README.md"
FORMAT = 1
"""To be raised when `model.json` changes; a package of another format is refused."""
