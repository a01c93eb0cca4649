# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A notebook
#
# A simulated subject, ridge regression on Gabor features, and its control. This page is run whenever the site is
# built: what it shows is what this version gives.

# %%
import os
import tempfile
from pathlib import Path

import calcarine as cc

os.chdir(tempfile.mkdtemp())  # a folder of its own
cc.simulate("subject", format="folder", images=120, targets=200)

# %% [markdown]
# A source reads the folder, an encoder turns its images into features, and a model predicts the responses.

# %%
run = cc.train(
    source=cc.Folder("subject"),
    encoder=cc.GaborEncoder(),
    model="ridge",
    validation=0,  # the folds of the cross-validation do its work
    name="gabor",
    flags={"trainer.enable_progress_bar": False, "trainer.enable_model_summary": False},
)

# %% [markdown]
# Scores are a table: `pearson_mean` of the targets of each ROI, with the noise ceiling that it should be compared with.

# %%
scores = run.scores.query("split == 'test' and roi in ['all', 'early', 'midventral', 'ventral']")
scores[["hemisphere", "roi", "n_targets", "pearson_mean", "noise_ceiling_mean"]]

# %% [markdown]
# Gabor features explain early visual cortex and little of the rest:

# %%
run.figures["pearson_per_roi"]

# %% [markdown]
# Each target chose its own penalty. Those that Gabor features explain chose smaller ones.

# %%
chosen = run.targets[["pearson", "penalty", "noise_ceiling"]]
chosen.corr(method="spearman").round(2)

# %% [markdown]
# New images, here some of the folder's own, are predicted by the model in the run's folder, all targets or a ROI's:

# %%
files = sorted(Path("subject/images").iterdir())[:3]
run.predict(files, roi="V1v").round(2)[:, :8]

# %% [markdown]
# The control has the same responses in another order. It must be near zero:

# %%
control = cc.train(
    config=run.folder / "config.yaml",
    source=cc.Folder("subject", shuffle=True),
    name="control",
)
control.scores.query("roi == 'all'")[["hemisphere", "pearson_mean", "pearson_ci_low", "pearson_ci_high"]]
