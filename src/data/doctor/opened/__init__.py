"""Formats laid open part by part, one file each: what is wrong with one file hides no other."""
