"""The members of an ensemble: finished runs that predict the same targets for the same held-out stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..names import TEST, VALIDATION, WITHHELD
from ..recording import Recording
from ..results.held_out import HeldOut, read_held_out
from ..results.prediction_files import FOLDER, splits_in, stimuli_of
from ..results.responses import read_each
from ..results.run_folder import MEMBERS, FinishedRun, run_names
from ..results.shared_stimuli import paired

_OF_MODEL = (
    "encoder",
    "reduction",
    "random_control",
    "image_size",
    "average_frames",
    "frame_spread",
    "encode_precision",
)
"""Settings of a run's data that are of its model."""
_BEFORE = {"frame_spread": False, "encode_precision": "32-true"}
"""Of these, what they were before there was a flag."""


@dataclass(frozen=True)
class Members:
    """Runs that can be made one.

    Args:
        runs: In the order in which they were named.
        names: What tables call them.
        recordings: What all of them predict, one per subject.
        splits: What they predict of each held-out split that all have, by subject: a `HeldOut` of each run, their
            stimuli in the same order.
        shuffled: Whether they are controls, trained on shuffled responses.
        refitted: The same models trained on more stimuli, of which the predictions are but for the validation split;
            empty where they are the runs' own.
    """

    runs: Sequence[FinishedRun]
    names: Sequence[str]
    recordings: Sequence[Recording]
    splits: Mapping[str, Mapping[str, Sequence[HeldOut]]]
    shuffled: bool
    refitted: Sequence[FinishedRun] = ()


def read_members(runs: Sequence[FinishedRun], stacked: bool) -> Members:
    """Read what runs predict, and see that they can be made one.

    The validation split is left out where a run has none, unless weights are to be learnt from it.

    Args:
        runs: Two or more.
        stacked: Whether weights are to be learnt.

    Raises:
        InputError: A run has other data, targets or stimuli than the first, has them in another order, is a control
            where the first is none, or predicts something that is not finite; the message names it.
    """
    names = run_names(runs)
    splits = _common_splits(runs, stacked)
    for split in splits:
        _check_stimuli(runs, names, split)
    recordings = read_each(runs, test_sets=True)
    shuffled = _common_shuffling(runs, names)
    for own, name in zip(recordings[1:], names[1:], strict=True):
        _check_targets(own, recordings[0], (names[0], name))
    found = {}
    for split in splits:
        held = [read_held_out(run, own, split) for run, own in zip(runs, recordings, strict=True)]
        found[split] = {subject: [own[subject] for own in held] for subject in held[0]}
        for of_subject in found[split].values():
            _check_predictions(of_subject, names)
    return Members(runs, names, recordings[0], found, shuffled)


def with_refitted(members: Members, runs: Sequence[FinishedRun]) -> Members:
    """The same members, but for the validation split with the predictions of models trained on more stimuli.

    Args:
        members: With predictions of a validation split.
        runs: Of the same models, in the order of the members.

    Raises:
        InputError: They are more or fewer, of other models, have not the members' data, or held out the stimuli that
            taught the weights.
    """
    if len(runs) != len(members.runs):
        raise InputError(
            f"--refitted: expected {len(members.runs)} runs, one for each member and in their order, found {len(runs)}"
        )
    for run, member in zip(runs, members.runs, strict=True):
        own, first = (_model(each) for each in (run, member))
        if MEMBERS in member.provenance:
            raise InputError(
                f"--refitted: expected members that were trained, found {member.folder}, an ensemble; name its own "
                "members in its place"
            )
        other = [name for name in first if own[name] != first[name]]
        if other:
            raise InputError(
                f"--refitted {run.folder}: expected the model of {member.folder}, trained again with --data.validation "
                f"0, found another {other[0]}; name the runs in the order of the members"
            )
    theirs = read_members(runs, stacked=False)
    names = run_names([members.runs[0], runs[0]])
    _check_targets(theirs.recordings, members.recordings, (names[0], names[1]))
    splits = dict(members.splits)
    for split in set(splits) - {VALIDATION}:
        if split not in theirs.splits:
            raise InputError(f"--refitted {runs[0].folder}: expected predictions of the {split} split, found none")
        pair = [members.runs[0], runs[0]]
        _check_stimuli(pair, names, split)
        for subject, held in theirs.splits[split].items():
            _check_predictions([members.splits[split][subject][0], held[0]], names)
            _check_seen(members.splits[VALIDATION][subject][0].names, held, runs)
        splits[split] = theirs.splits[split]
    _common_shuffling([members.runs[0], runs[0]], names)
    return replace(members, splits=splits, refitted=runs)


def _model(run: FinishedRun) -> dict[str, object]:
    """What makes two runs' models the same."""
    data = run.config["data"]
    return {"--model": run.config.get("model")} | {
        f"--data.{name}": data.get(name, _BEFORE.get(name)) for name in _OF_MODEL
    }


def _common_shuffling(runs: Sequence[FinishedRun], names: Sequence[str]) -> bool:
    """Whether all are controls; refuse some among others."""
    first, *others = [bool((run.config["data"]["source"].get("init_args") or {}).get("shuffle")) for run in runs]
    for own, name in zip(others, names[1:], strict=True):
        if own != first:
            known = ("true pairs of stimulus and response", "shuffled ones")
            raise InputError(
                f"{name}: expected a run trained on {known[first]}, as {names[0]} is, found one of {known[own]}; "
                "a control's ensemble is one of controls alone"
            )
    return first


def _common_splits(runs: Sequence[FinishedRun], stacked: bool) -> list[str]:
    """Splits that all runs have predictions of."""
    have = [splits_in(run.folder / FOLDER) for run in runs]
    everything = dict.fromkeys(split for own in have for split in own)
    for split in everything:
        without = [run for run, own in zip(runs, have, strict=True) if split not in own]
        if without and (split != VALIDATION or stacked):
            remedy = "train it with --data.validation 0.1" if split == VALIDATION else "take runs of the same splits"
            raise InputError(
                f"{without[0].folder / FOLDER}: expected {split}.npy, as another run has it, found none; {remedy}"
            )
    if stacked and VALIDATION not in everything:
        raise InputError(
            f"--stack: expected predictions of a validation split, from which weights are learnt, found none in "
            f"{runs[0].folder}; leave --stack out, or train with --data.validation 0.1"
        )
    splits = [split for split in everything if all(split in own for own in have)]
    if not set(splits) - {WITHHELD}:
        raise InputError(
            f"{runs[0].folder / FOLDER}: expected {TEST}.npy or {VALIDATION}.npy, which all runs have, found neither; "
            "take runs that were evaluated on one split"
        )
    return splits


def _check_stimuli(runs: Sequence[FinishedRun], names: Sequence[str], split: str) -> None:
    """Refuse runs that do not hold out the first one's stimuli, in its order."""
    first, *others = [stimuli_of(run.folder / FOLDER, split) for run in runs]
    wanted = _pairs(first)
    for own, name in zip(others, names[1:], strict=True):
        if own == first:
            continue
        found = _pairs(own)
        if sorted(found) == sorted(wanted):
            what, remedy = "the same in another order", "take runs of the same data"
        else:
            common = len(set(found) & set(wanted))
            what = f"{len(found):,}, of which {common:,} are the same"
            remedy = "train them with the same shares and one --data.split_seed"
        raise InputError(f"{name}: expected the {len(wanted):,} {split} stimuli of {names[0]}, found {what}; {remedy}")


def _pairs(stimuli: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Subject and name of each stimulus."""
    return [(subject, name) for subject, names in stimuli.items() for name in names]


def _check_targets(own: Sequence[Recording], first: Sequence[Recording], names: tuple[str, str]) -> None:
    """Refuse a run whose subjects, or their targets, are not the first one's."""
    there, here = ([(each.subject, each.num_targets) for each in recordings] for recordings in (first, own))
    if there != here:
        told = [", ".join(f"{subject} with {count:,}" for subject, count in each) for each in (there, here)]
        raise InputError(
            f"{names[1]}: expected the subjects and targets of {names[0]} ({told[0]}), found {told[1]}; take runs of "
            "the same data"
        )


def _check_predictions(held: Sequence[HeldOut], names: Sequence[str]) -> None:
    """Refuse runs of one subject that were held against other responses than the first, or that diverged."""
    first = held[0]
    for own, name in zip(held, names, strict=True):
        if own is not first:
            paired(first, own, first.names, (names[0], name))
            if not _same(first.recording.responses.offset, own.recording.responses.offset):
                raise InputError(
                    f"{name}: expected responses with the offset of {names[0]}; take runs of the same data"
                )
        faulty = int((~np.isfinite(own.predictions)).any(axis=0).sum())
        if faulty:
            raise InputError(
                f"{own.path}: expected finite predictions, found others at {faulty:,} targets of "
                f"{first.recording.subject}; its training diverged: leave it out"
            )


def _check_seen(taught: Sequence[str], refitted: Sequence[HeldOut], runs: Sequence[FinishedRun]) -> None:
    """Refuse runs that held out stimuli that taught the weights: they were not trained on more."""
    for own, run in zip(refitted, runs, strict=True):
        if held_out := len(set(taught) - own.seen):
            raise InputError(
                f"--refitted {run.folder}: expected a run trained on the {len(taught):,} stimuli of the validation "
                f"split too, found {held_out:,} of them held out; train it with --data.validation 0"
            )


def _same(one: np.ndarray | None, two: np.ndarray | None) -> bool:
    return (one is None) == (two is None) and (one is None or two is None or np.array_equal(one, two))
