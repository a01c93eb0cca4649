"""The sessions of a subject: one file of betas each, or one for each hemisphere."""

from collections.abc import Sequence
from pathlib import Path

from ....errors import InputError
from ...trials.arrays import CiftiSeries
from ...trials.endings import open_series
from ...trials.series import ImageSeries, Series, same_affine
from .names import Named, in_order, session_key
from .tree import SubjectFiles

_USUAL = ("singletrial", "typed_fit")
"""What the names of single-trial betas say where others lie beside them: those of GLMsingle's last model."""

Files = dict[str, dict[str, Named]]
"""By session and hemisphere."""


def find_files(
    subject: SubjectFiles, betas: str | None, space: str | None, wanted: Sequence[int | str] | None
) -> Files:
    """The files of betas of the sessions that are there, or of those that are wanted.

    A file whose name tells no session is the only one, under the key ""; it may hold several sessions.

    Args:
        subject: The subject's files.
        betas: A part of the betas' paths below the root.
        space: The word of their names after `space-`.
        wanted: Sessions; all that are there where None.

    Raises:
        InputError: There are none, there are several kinds, or a session that is wanted is not there.
    """
    named = [each for each in subject.betas if betas is None or betas.lower() in subject.below(each.path).lower()]
    named = [each for each in named if space is None or each.entity("space") == space]
    if not named:
        there = sorted({each.variety for each in subject.betas})
        raise InputError(
            f"{subject.home}: expected files of single-trial betas, whose names hold {betas or 'betas'!r}"
            f"{f' and space-{space}' if space else ''}, found {', '.join(there[:4]) or 'none'}; see "
            "--data.source.betas and --data.source.space"
        )
    found: Files = {}
    for each in _one_folder(_one_variety(named, subject), subject):
        other = found.setdefault(each.session, {}).setdefault(each.side, each)
        if other.content != each.content:
            raise InputError(
                f"{each.path}: expected one file of betas per session, and hemisphere, found "
                f"{subject.below(other.path)} too; say which with --data.source.betas, or move the other elsewhere"
            )
    if "" in found and len(found) > 1:
        raise InputError(
            f"{next(iter(found[''].values())).path}: expected a session in the name of each file of betas, such as "
            "ses-02, as others have one, found none; rename it, or say which are meant with --data.source.betas"
        )
    keys = list(found) if "" in found else choose_sessions(list(found), wanted, subject.home)
    sides = {key: sorted(found[key]) for key in keys}
    for key in keys:
        if sides[key] != sides[keys[0]] or (len(sides[key]) > 1 and "" in sides[key]):
            raise InputError(
                f"{next(iter(found[key].values())).path}: expected the hemispheres of session {keys[0]} "
                f"({' and '.join(sides[keys[0]]) or 'one file of both'}) in session {key}, found "
                f"{' and '.join(sides[key]) or 'one file of both'}; add what is missing, or leave it out with "
                "--data.source.sessions"
            )
    return {key: dict(sorted(found[key].items())) for key in keys}


def choose_sessions(there: Sequence[str], wanted: Sequence[int | str] | None, place: Path) -> list[str]:
    """The sessions that are wanted, or all, in order.

    Args:
        there: Sessions whose betas there are.
        wanted: As the flag names them.
        place: Where they are, for the message.

    Raises:
        InputError: One is not there, or none is wanted.
    """
    known = in_order(list(there))
    keys = known if wanted is None else in_order(list({session_key(str(own)) for own in wanted}))
    if not keys or not set(keys) <= set(known):
        raise InputError(
            f"--data.source.sessions {list(wanted or [])}: expected sessions whose betas are in {place}, found "
            f"{', '.join(known)}; download the others, or name these"
        )
    return keys


def _one_variety(named: Sequence[Named], subject: SubjectFiles) -> list[Named]:
    """The files of the one kind that there is, uncompressed before compressed."""
    varieties = dict.fromkeys(each.variety for each in named)
    usual = [name for name in varieties if any(word in name.lower() for word in _USUAL)]
    if len(varieties) > 1 and len(usual) != 1:
        raise InputError(
            f"{subject.home}: expected one file of betas per session, and hemisphere, found "
            f"{len(varieties)} kinds: {', '.join(sorted(varieties)[:6])}; say which with --data.source.space, or with "
            "--data.source.betas, a part of their names"
        )
    own = [each for each in named if len(varieties) == 1 or each.variety == usual[0]]
    return sorted(own, key=lambda each: (len(each.ending), each.path))


def _one_folder(named: Sequence[Named], subject: SubjectFiles) -> Sequence[Named]:
    """The same files, which are of one derivative: others are of another analysis."""
    tops = sorted({subject.below(each.top) for each in named})
    if len(tops) > 1:
        raise InputError(
            f"{subject.root}: expected the betas of a subject in one folder, found them in {' and in '.join(tops)}; "
            "say which with --data.source.betas, a part of their path"
        )
    return named


def open_sessions(files: Files) -> dict[str, dict[str, Series]]:
    """Open every file by its header.

    Raises:
        InputError: One is damaged, or they are of different grids.
    """
    opened: dict[str, dict[str, Series]] = {
        key: {side: open_series(named.path) for side, named in sides.items()} for key, sides in files.items()
    }
    first = next(iter(opened.values()))
    for sides in opened.values():
        for side, series in sides.items():
            _check_like(series, first[side])
        counts = {series.num_trials for series in sides.values()}
        if len(counts) > 1:
            raise InputError(
                f"{next(iter(sides.values())).path}: expected as many trials in both hemispheres, found "
                f"{' and '.join(map(str, sorted(counts)))}; use the files of one session"
            )
    return opened


def _check_like(series: Series, first: Series) -> None:
    """Check that two sessions are of one grid."""
    if series.shape != first.shape:
        found, expected = str(series.shape), str(first.shape)
    elif not same_affine(*(each.affine if isinstance(each, ImageSeries) else None for each in (series, first))):
        found, expected = "another affine", "the affine"
    elif not _same_grayordinates(series, first):
        found, expected = "others, or in another order", "the grayordinates"
    else:
        return
    raise InputError(
        f"{series.path}: expected {expected} as in {first.path.name}, found {found}; use files of one space and "
        "subject, or leave its session out with --data.source.sessions"
    )


def _same_grayordinates(series: Series, first: Series) -> bool:
    if not isinstance(series, CiftiSeries) or not isinstance(first, CiftiSeries):
        return True
    return series.grayordinates.same(first.grayordinates)
