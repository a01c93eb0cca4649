"""Studies: searches over the flags of `train.py` that survive kills and share one storage."""
