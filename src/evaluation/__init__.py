"""Predictions → what people read. Knows nothing of training; imports neither torch nor lightning."""

from .benchmarks import check_min_ceiling
from .beside import Beside
from .challenge import algonauts2023_score, noise_normalised, write_submission_2021, write_submission_2023
from .controls import Control
from .evaluate import evaluate_run
from .figures.training import History
from .learning_curve import CurvePoint, LearningCurve
from .predicted import SplitPredictions
from .scores import ScoreRow, TargetScores, score_rows, target_scores
from .submission import write_submission
from .summary import Summary
from .tables import read_scores, write_rows, write_targets

__all__ = [
    "Beside",
    "Control",
    "CurvePoint",
    "History",
    "LearningCurve",
    "SplitPredictions",
    "Summary",
    "check_min_ceiling",
    "evaluate_run",
    "ScoreRow",
    "TargetScores",
    "score_rows",
    "target_scores",
    "read_scores",
    "write_rows",
    "write_targets",
    "algonauts2023_score",
    "noise_normalised",
    "write_submission",
    "write_submission_2021",
    "write_submission_2023",
]
