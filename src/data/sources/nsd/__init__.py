"""The Natural Scenes Dataset as it is downloaded: its design, betas, labels, and the source that joins them.

Allen et al. 2022, "A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial intelligence".
"""
