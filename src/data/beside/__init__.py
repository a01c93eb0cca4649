"""Inputs beside the image: what came before a trial, when it was, and what the subject did."""
