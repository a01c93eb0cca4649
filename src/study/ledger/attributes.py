"""Names of what a study and its trials carry in the storage."""

LOST = "lost"
"""User attribute of a trial whose worker died or was interrupted: how."""
RETRY_OF, KILLS = "retry_of", "kills"
REASON = "reason"
"""User attribute of a trial that failed: why."""
DEFAULT = "default"
"""User attribute of the trial with the configuration's own values."""
WORKER = "worker"
"""User attribute of a trial whose worker another process watches over: what that one calls it."""
TEST_SCORE = "test_score"
"""User attribute of a complete trial: its mean correlation on the test split, by which nothing is chosen."""
SPACE, CONFIG, KEEPS, REFIT = "space", "config", "keeps", "refit"
"""User attributes of a study: its search space, the resolved config beneath, whether trials keep their rows and
go through a grid, and [best trial, folder of its run]."""
PER_ROI = "per_roi"
"""User attribute of a study's trials, {split: [mean correlation of each ROI]}, and of the study: the `folder` of the
assembled run, of how many `trials` it is, and of each ROI its name, the trial of its rows, and its correlations."""
