"""A doctor for data: what is wrong with a folder before a model is trained on it; imports no torch."""
