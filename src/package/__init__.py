"""A trained model as a folder that needs nothing else: written from a run, read anywhere."""
