"""A trained model scored on other data of its subjects, without the data that it was trained on."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser

from ..atomic import whole_folder
from ..batch import DIGITS, Facts
from ..data.sources.base import Source
from ..data.test_sets import by_subject, check_names, places_of, scored_part
from ..errors import InputError
from ..evaluation import History, SplitPredictions, check_min_ceiling, evaluate_run
from ..evaluation.report import DATA, MODEL
from ..names import TEST
from ..package.files import check_free
from ..recording import Recording, Stimuli
from ..results.prediction_files import FOLDER, folder_of_subject, stimuli_file, write_stimuli
from ..run.constructors import as_input
from ..run.flags import MODE, parse_flags
from ..run.needs import tell_predictions
from .trained import TrainedModel, load_model

log = logging.getLogger(__name__)


def evaluate_model(
    path: Path,
    flags: Sequence[str],
    name: str,
    out: Path,
    batch_size: int | None = None,
    min_ceiling: float | None = None,
) -> None:
    """Write tables of scores, `predictions/`, figures and `report.html` of a model on other data.

    Args:
        path: A run's folder, a package or a checkpoint.
        flags: Of the source, as typed: `--data.source NAME --data.source.root DIR …`, `--data.cache_dir DIR`.
        name: Of the test set.
        out: Folder to write; new or empty.
        batch_size: Images at a time; without, as many as in training.
        min_ceiling: Noise ceiling below which targets are left out of `benchmarks.csv`, from 0 to 1.

    Raises:
        InputError: A flag, a file or the model is not what it has to be, or there is nothing to score; nothing is
            written then.
    """
    if name != TEST:
        check_names([name], "--name")
    check_min_ceiling(min_ceiling, "--min_ceiling")
    source, data = _source(flags)
    check_free(out, path)
    model = load_model(path)
    source.prepare()
    parts = list(_scored(model, source, name))
    tell_predictions(out, sum(4 * len(stimuli) * len(targets) for _, stimuli, targets in parts), in_memory=True)
    with whole_folder(out.absolute()) as partial:
        splits = [_predicted(model, part, name, partial, batch_size) for part in parts]
        facts = {DATA: data, MODEL: str(path)}
        if model.module.facts.beside:
            facts["Inputs beside the image"] = (
                "none of these stimuli has any: their training mean stands in their place"
            )
        summary = evaluate_run(partial, splits, History([], [], [], {}), "", facts, min_ceiling=min_ceiling)
    print(f"{out}: {summary.headline()}", flush=True)  # noqa: T201 what the command answers


def _source(flags: Sequence[str]) -> tuple[Source, str]:
    """The source that flags name, and what it reads, for people."""
    parser = ArgumentParser("calcarine evaluate", exit_on_error=False, parser_mode=MODE, allow_abbrev=False)
    parser.add_subclass_arguments(Source, "data.source", required=True)
    parser.add_argument("--data.cache_dir", type=Path, default=Path("cache"))
    if not any(flag.startswith("--data.source") for flag in flags):
        raise InputError(
            "--data.source: expected the data to score the model on, found none; name a source or its root"
        )
    parsed = parse_flags(parser, flags)
    try:
        source = parser.instantiate(parsed).data.source
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        fault = as_input(error)
        if fault is None:
            raise
        raise fault from None
    source.keep_in(parsed.data.cache_dir)
    settings = parsed.data.source.init_args
    return source, f"{type(source).__name__} {settings.get('root', '')}".strip()


def _scored(model: TrainedModel, source: Source, name: str) -> Iterator[tuple[Recording, np.ndarray, torch.Tensor]]:
    """What is scored of each subject: a recording of the targets that the model has too, stimuli, and those targets."""
    facts = model.module.facts
    own = by_subject(source.read(), list(facts.subjects), source, "--data.source")
    for subject, recording in own.items():
        of_model, columns = _common(facts, facts.subjects[subject], recording)
        stimuli, seen = scored_part(recording), set(facts.seen)
        digests = recording.stimuli.digests()
        new = np.array([index for index in stimuli if digests[index][:DIGITS] not in seen], dtype=np.int64)
        if len(new) < len(stimuli):
            log.info("%s: left out %d stimuli that the model was trained on", subject, len(stimuli) - len(new))
        if not len(new):
            raise InputError(
                f"--data.source: expected stimuli of {subject} that the model was not trained on, found none among "
                f"{len(stimuli)}; give other data"
            )
        if not facts.seen:
            log.warning("%s: the model does not say what it was trained on; none of these may be of that", name)
        yield recording.of_targets(columns), new, of_model


def _common(facts: Facts, targets: slice, recording: Recording) -> tuple[torch.Tensor, np.ndarray]:
    """Targets that model and recording have in common: their numbers in both, in the model's order."""
    count = targets.stop - targets.start
    numbers = torch.arange(targets.start, targets.stop)
    places = facts.coordinates[targets].numpy()
    theirs = None if recording.coordinates is None else places_of(recording.coordinates, recording.hemispheres)
    if theirs is not None and not np.isnan(places).any():
        sides = np.array(["lh", "rh", ""])[facts.hemispheres[targets].numpy()]
        column = {place: index for index, place in enumerate(theirs)}
        if len(column) == len(theirs):  # otherwise places do not tell targets apart
            found = np.array([column.get(place, -1) for place in places_of(places, sides)])
            if (found >= 0).any():
                if (found < 0).any():
                    log.info("%s: %d of the model's %d targets are there", recording.subject, (found >= 0).sum(), count)
                return numbers[torch.from_numpy(found >= 0)], found[found >= 0]
    if recording.num_targets != count:
        raise InputError(
            f"--data.source: expected the {count} targets of {recording.subject} that the model has, found "
            f"{recording.num_targets}; read the same targets"
        )
    return numbers, np.arange(count)


def _predicted(
    model: TrainedModel,
    part: tuple[Recording, np.ndarray, torch.Tensor],
    name: str,
    folder: Path,
    batch_size: int | None,
) -> SplitPredictions:
    recording, stimuli, targets = part
    shown = _Stimuli(recording.stimuli, stimuli)
    blocks = model.module.predictions(shown, targets, batch_size)
    predicted = np.concatenate([block.numpy() for block in blocks])
    own = folder_of_subject(folder / FOLDER, recording.subject, len(model.module.facts.subjects))
    own.mkdir(parents=True, exist_ok=True)
    np.save(own / f"{name}.npy", predicted)
    split = SplitPredictions(recording, name, stimuli, predicted)
    write_stimuli(own / stimuli_file(name), ((each, recording.subject) for each in split.names))
    if recording.responses.offset is None:
        return split
    centred = (predicted - recording.responses.offset).astype(np.float32)
    return SplitPredictions(recording, name, stimuli, centred)


class _Stimuli(Sequence[np.ndarray]):
    """Stimuli of a recording, each decoded when it is asked for."""

    def __init__(self, stimuli: Stimuli, index: np.ndarray) -> None:
        self._stimuli, self._index = stimuli, index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return _Stimuli(self._stimuli, self._index[index])
        return self._stimuli.read(int(self._index[index]))
