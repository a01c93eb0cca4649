"""Configs of published systems, which travel with the package as `calcarine.configs`."""
