"""The figures of a run: each drawn into its folder, and as a page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..findings import Findings
from ..fsaverage import MESH_VERTICES
from ..names import HEMISPHERES
from ..recording import Recording
from .controls import CONTROLS_FIGURE, ControlRow, Verdict
from .figures import controls, cortex, distribution, learning_curve, pairs, per_roi, training
from .figures.drawing import save_figure
from .figures.mesh import Mesh, coarsened, load_meshes
from .figures.residuals import residuals
from .figures.surface import Values, brain_maps, flat_maps, top_of
from .figures.training import History
from .layers import is_pair, layer_depth
from .learning_curve import CURVE_FIGURE, CurveMean
from .predicted import SplitPredictions
from .report import ReportFigure
from .scores import ScoreRow, TargetScores

Subjects = Sequence[tuple[Recording, TargetScores]]
_LABEL = "Pearson correlation"


def score_figures(folder: Path, split: str, rows: Sequence[ScoreRow], subjects: Subjects) -> list[ReportFigure]:
    """Correlation per ROI, and how the targets' correlations are distributed."""
    bars = per_roi.bars_of(rows)
    caption = (
        f"Mean Pearson correlation over the targets of each ROI, {split} split. Lines: 95 % interval over "
        "stimuli, or one dot per subject where there are several. Ticks: what a perfect model would reach."
    )
    path = save_figure(per_roi.picture(bars), folder / "pearson_per_roi.png")
    figures = [ReportFigure("Correlation per ROI", caption, path, per_roi.plot(bars))]
    shown = distribution.distribution_of(subjects)
    if shown is not None:
        caption = (
            f"Targets by their correlation, {split} split. What lies below 0 is noise, where it mirrors what lies "
            "above, or a fault."
        )
        path = save_figure(distribution.picture(shown), folder / "distribution.png")
        figures.append(ReportFigure("Distribution of correlations", caption, path, distribution.plot(shown)))
    return figures


def control_figures(
    folder: Path, split: str, rows: Sequence[ControlRow], verdicts: Sequence[Verdict]
) -> list[ReportFigure]:
    """The run beside its controls, of a run that has any."""
    if not rows:
        return []
    dots = controls.dots_of(rows, {each.control.name: each.control.label for each in verdicts})
    caption = (
        f"Mean Pearson correlation over the targets of each ROI, {split} split: of the run, and of the same model "
        "trained otherwise. Lines: 95 % interval over stimuli. Whether a difference is one is told by the "
        "intervals of paired differences, in the table below."
    )
    path = save_figure(controls.picture(dots), folder / f"{CONTROLS_FIGURE}.png")
    return [ReportFigure("Beside its controls", caption, path, controls.plot(dots))]


def curve_figures(folder: Path, split: str, means: Sequence[CurveMean]) -> list[ReportFigure]:
    """Correlation against training stimuli, of a run that was trained on fewer too."""
    if not means:
        return []
    series = learning_curve.series_of(means)
    caption = f"Mean Pearson correlation over all targets, {split} split, of the same model trained on fewer stimuli. "
    if len(series) > 1:
        caption += "From scratch: its trunk begins untrained; the table below has the gains. "
    caption += "Lines: 95 % interval over the scored stimuli."
    path = save_figure(learning_curve.picture(series), folder / f"{CURVE_FIGURE}.png")
    return [ReportFigure("Correlation and training stimuli", caption, path, learning_curve.plot(series))]


def training_figures(folder: Path, history: History) -> list[ReportFigure]:
    """Learning curves, of a model that has them."""
    if not history.has_curves:
        return []
    caption = "A validation loss that rises while the training loss falls is overfitting."
    if history.kept():
        caption += " Circles: epochs whose weights ROIs keep, each ROI those of its lowest validation loss."
    path = save_figure(training.picture(history), folder / "learning_curves.png")
    return [ReportFigure("Learning curves", caption, path, training.plot(history))]


def brain_figures(folder: Path, split: str, subjects: Subjects, fsaverage: Path | None) -> list[ReportFigure]:
    """The cortex to be turned, of several subjects their mean; and pictures of each subject's, flat where it can be.

    Args:
        folder: For the pictures.
        split: What the correlations are of.
        subjects: Those without fsaverage vertices have no such figures.
        fsaverage: FreeSurfer's `subjects/fsaverage`; None draws on fsaverage5.
    """
    placed = [(recording, scores) for recording, scores in subjects if recording.vertices is not None]
    maps = {recording.subject: _values(recording, scores) for recording, scores in placed}
    means = _means(list(maps.values()))
    top = top_of(means)
    if top is None:
        return []
    meshes = load_meshes(fsaverage)
    if all((vertices >= len(meshes[side])).all() for side, (vertices, _) in means.items()):
        return []  # a few targets, none of them on fsaverage5
    turned = {side: coarsened(mesh) for side, mesh in meshes.items()}
    legend = "Grey: not measured, sulci darker. Orange: below 0."
    preview = " " + _preview(turned, means) if _preview(turned, means) else ""
    of = "" if len(maps) == 1 else f"mean over {len(maps)} subjects, "
    caption = f"{_LABEL} of each vertex, {of}{split} split; drag to turn.{preview} {legend}"
    names = {side: [""] * len(vertices) for side, (vertices, _) in means.items()}
    if len(subjects) == 1:
        told = np.array(cortex.vertex_names(subjects[0][0]))
        names = {side: told[subjects[0][0].hemispheres == side].tolist() for side in names}
    figures = [ReportFigure("Cortex", caption, None, cortex.plot(turned, means, names, top))]
    for subject, own in maps.items():
        preview = " " + _preview(meshes, own) if _preview(meshes, own) else ""
        for name, title, figure in (
            ("brain", "Inflated cortex", brain_maps(meshes, own, _LABEL, top)),
            ("flat", "Flat map", flat_maps(meshes, own, _LABEL, top)),
        ):
            if figure is not None:
                path = save_figure(figure, folder / f"{name}_{subject}.png")
                title = title if len(maps) == 1 else f"{title}, {subject}"
                caption = f"{_LABEL} of each vertex, {split} split.{preview} {legend}"
                figures.append(ReportFigure(title, caption, path, whole=True))
    return figures


def layer_figures(
    folder: Path, parts: Sequence[tuple[Recording, Findings]], fsaverage: Path | None
) -> list[ReportFigure]:
    """Which layer each vertex reads, on the inflated cortex, of models that find it.

    Args:
        folder: For the pictures.
        parts: Each subject and what the model found of its targets; those without fsaverage vertices have no map.
        fsaverage: As for `brain_figures`.
    """
    depths = [(recording, found, layer_depth(found)) for recording, found in parts if recording.vertices is not None]
    figures = []
    for recording, found, depth in depths:
        if depth is None:
            continue
        layers = [layer for layer in found.layers if not is_pair(layer)]
        label = f"layer, from 0 ({layers[0]}) to {len(layers) - 1} ({layers[-1]})"
        figure = brain_maps(load_meshes(fsaverage), _placed(recording, depth), label, len(layers) - 1)
        if figure is not None:
            path = save_figure(figure, folder / f"layers_{recording.subject}.png")
            title = "Layers on cortex" if len(depths) == 1 else f"Layers on cortex, {recording.subject}"
            caption = (
                "The layer that each vertex reads, counted from 0 in the order of the network; of a mixture of layers "
                "the mean by their weights. Where nothing is explained the layer means nothing."
            )
            figures.append(ReportFigure(title, caption, path, whole=True))
    return figures


def pair_figures(
    folder: Path, part: SplitPredictions, responses: np.ndarray, scores: TargetScores, alone: bool
) -> list[ReportFigure]:
    """One subject's predictions against its responses, and what they leave of them.

    Args:
        folder: For the pictures.
        part: The predictions (n, T).
        responses: (n, T), NaN where not measured.
        scores: Of the targets.
        alone: There is no other subject to tell it from.
    """
    subject, split, predictions = part.recording.subject, part.split, part.predictions
    beside, behind = ("", "") if alone else (f"_{subject}", f", {subject}")
    figures = []
    shown = pairs.pairs_of(predictions, responses, scores.pearson)
    if shown is not None:
        caption = (
            f"All stimuli and targets, {split} split, the darker the more; each target in standard deviations of what "
            "was measured. Points on the dotted line are predicted exactly. Click the legend for single targets, whose "
            "points name their stimulus."
        )
        path = save_figure(pairs.picture(shown), folder / f"predicted_measured{beside}.png")
        plot = pairs.plot(shown, part.names)
        figures.append(ReportFigure(f"Predicted against measured{behind}", caption, path, plot))
    caption = (
        f"Residuals against predictions, {split} split. A good fit is a level cloud about 0; a slope says that "
        "predictions are too small or too large, a funnel that the noise grows with the prediction."
    )
    path = save_figure(residuals(predictions, responses), folder / f"residuals{beside}.png")
    return [*figures, ReportFigure(f"Residuals{behind}", caption, path)]


def _values(recording: Recording, scores: TargetScores) -> Values:
    """The correlations of one subject by hemisphere, with their vertices."""
    return _placed(recording, scores.pearson)


def _placed(recording: Recording, values: np.ndarray) -> Values:
    """A value of each target, (T,), by hemisphere, with their vertices."""
    sides = {side: recording.hemispheres == side for side in HEMISPHERES}
    vertices = np.asarray(recording.vertices)
    return {side: (vertices[own], values[own]) for side, own in sides.items() if own.any()}


def _means(maps: Sequence[Values]) -> Values:
    """The subjects' mean at each vertex where any of them has a value, or had a target."""
    if len(maps) == 1:
        return maps[0]
    found = {}
    for side in HEMISPHERES:
        own = [each[side] for each in maps if side in each]
        if own:
            places, values = np.concatenate([v for v, _ in own]), np.concatenate([v for _, v in own])
            vertices, which = np.unique(places, return_inverse=True)
            known = ~np.isnan(values)
            count = np.bincount(which[known], minlength=len(vertices))
            with np.errstate(invalid="ignore"):
                found[side] = vertices, np.bincount(which[known], values[known], len(vertices)) / count
    return found


def _preview(meshes: Mapping[str, Mesh], maps: Values) -> str:
    """What is left out where vertices lie beyond the mesh; "" where none does."""
    count = len(next(iter(meshes.values())))
    if not any((vertices >= count).any() for vertices, _ in maps.values()):
        return ""
    level = next(level for level, vertices in MESH_VERTICES.items() if vertices == count)
    return f"A preview on fsaverage{level}, 1 vertex in {4 ** (7 - level)}."
