"""Experiments on a trained model in place of the brain: what drives it, and which part of an image does."""
