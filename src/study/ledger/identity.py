"""What a study is: its space and its config, remembered with it, so that no worker goes on with another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...results.configuration import flat
from .attributes import CONFIG, KEEPS, SPACE

if TYPE_CHECKING:
    from optuna import Study

MAY_DIFFER = ("name", "runs", "ckpt_path", "trainer.enable_progress_bar", "trainer.enable_model_summary")
"""What another worker may have otherwise."""
SHOWN = 3


def remember(study: Study, space: Mapping[str, Any], config: Mapping[str, Any], keeps: Mapping[str, bool]) -> None:
    """Keep what the study is, or refuse to go on with something else; under the storage's lock.

    Args:
        study: New, or one that goes on.
        space: The search space in plain types.
        config: The resolved config beneath the trials.
        keeps: Whether its trials keep their rows, and whether they go through a grid, which takes all from the first.

    Raises:
        InputError: It was begun with another space or config; the line shows where they differ.
    """
    parts = ((SPACE, "--search", space), (CONFIG, "the configuration", config), (KEEPS, "it", keeps))
    for attribute, flag, content in parts:
        now = json.loads(json.dumps(content))
        before = study.user_attrs.get(attribute)
        if before is None:
            study.set_user_attr(attribute, now)
        elif changes := differences(before, now):
            shown = "; ".join(changes[:SHOWN]) + (f"; and {len(changes) - SHOWN} more" * (len(changes) > SHOWN))
            raise InputError(
                f"--study {study.study_name}: {flag} is not what it was begun with: {shown}; "
                "give back what it was, or a new name with --study"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where two nested mappings differ, one "NAME: before → now" each."""
    old, new = flat(before), flat(now)
    absent = "absent"
    return [
        f"{name}: {old.get(name, absent)} → {new.get(name, absent)}"
        for name in dict.fromkeys((*old, *new))
        if name not in MAY_DIFFER and (old.get(name, absent) != new.get(name, absent))
    ]
