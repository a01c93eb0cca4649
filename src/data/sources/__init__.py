"""Readers of on-disk formats, one file each."""
