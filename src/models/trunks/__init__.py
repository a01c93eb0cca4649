"""Trunks: features → features, trained, before a readout of each subject's own."""
