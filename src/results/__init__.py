"""Finished runs and submissions: scored, listed, compared. Imports neither torch nor lightning."""
