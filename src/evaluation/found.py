"""What a model found beside its predictions, as tables and figures in the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..findings import Attention, Findings
from ..recording import Recording
from .attention import attention_maps, attention_rows
from .bands import BandRow, band_rows
from .figures.attention import attention_figure
from .figures.bands import band_shares, variance_partition
from .figures.drawing import save_figure
from .figures.heat_map import heat_map_of, picture, plot
from .figures.layers import layer_curves
from .figures.receptive_fields import LOCATED, MOST_CIRCLES, Windows, receptive_fields, windows_by_side
from .figures.stacked_bars import colours_of, stacked_bars
from .layers import LayerRow, is_pair, layer_rows
from .members import MemberRow, member_rows
from .report import ReportFigure
from .scores import TargetScores
from .tables import write_rows

_R2 = "R² is cross-validated on the training split: no held-out stimulus has a part in it."


def write_findings(
    folder: Path, parts: Sequence[tuple[Recording, Findings]], split: str, scores: Mapping[str, TargetScores]
) -> list[ReportFigure]:
    """Write `layers.csv`, `bands.csv` and `members.csv`, and the figures of what is known of these and of windows.

    Args:
        folder: The run's folder.
        parts: Each subject and what the model found of its targets.
        split: A held-out split.
        scores: Of each subject's targets in it, by subject.

    Returns:
        The figures in the report's order.
    """
    layers = [row for part in parts for row in layer_rows(*part)]
    bands = [row for part in parts for row in band_rows(*part)]
    members = [row for part in parts for row in member_rows(*part)]
    figures = []
    if layers:
        write_rows(folder / "layers.csv", layers)
        if parts[0][1].layer_r2:
            figures += _layers(folder / "figures", layers, parts)
        figures += _mixtures(folder / "figures", layers)
    if bands:
        write_rows(folder / "bands.csv", bands)
        figures += _bands(folder / "figures", bands)
    if members:
        write_rows(folder / "members.csv", members)
        figures += _members(folder / "figures", members)
    return [*figures, *_windows(folder / "figures", parts, split, scores)]


def write_attention(folder: Path, attention: Attention | None) -> list[ReportFigure]:
    """Write `attention.csv`, and the figure of where each ROI's query looks.

    Args:
        folder: The run's folder.
        attention: None where the model does not attend.
    """
    if attention is None:
        return []
    write_rows(folder / "attention.csv", attention_rows(attention))
    shown = attention_maps(attention)
    if shown is None:
        return []
    away = shown.elsewhere
    caption = (
        "Where in the image each ROI's query looks: mean attention over the stimuli of the "
        f"{attention.split} split and over heads, all layers together, on the grid of the finest. A map that is even "
        "looks everywhere alike. "
        + (
            f"Between {away.min():.0%} and {away.max():.0%} goes to tokens without a place, such as class tokens. "
            if away.max() >= 0.005
            else ""
        )
        + "A ROI without the targets of smaller ROIs within it; attention.csv has the numbers, layer by layer."
    )
    path = save_figure(attention_figure(shown), folder / "figures" / "attention.png")
    return [ReportFigure("Attention of the ROIs", caption, path, whole=True)]


def _layers(folder: Path, rows: Sequence[LayerRow], parts: Sequence[tuple[Recording, Findings]]) -> list[ReportFigure]:
    figures = []
    heat_map = heat_map_of(rows)
    optimistic = "it is the highest of several estimates and so a little too high; the scores below are not"
    if heat_map is not None:
        caption = (
            "R² of a model of each layer alone, mean over the targets of each ROI. The mark is on the best layer of "
            f"the row, where one reaches 0.01; blank means no value. {_R2} Even so the marked R² is no result: "
            f"{optimistic}. "
            "layers.csv has the numbers" + (", those of pairs too." if any(is_pair(row.layer) for row in rows) else ".")
        )
        path = save_figure(picture(heat_map), folder / "layers_per_roi.png")
        figures.append(ReportFigure("Layers per ROI", caption, path, plot(heat_map)))
    caption = (
        "Mean R² of a model of each layer alone, in the order of the network; the large dot marks the best layer. "
        + (
            "Thick: mean over subjects; thin: each subject. "
            if len(parts) > 1
            else "Shade: 95 % interval of the mean over targets, taken as independent, which neighbours are not. "
        )
        + f"{_R2} The best layer's R² is optimistic: {optimistic}."
    )
    path = save_figure(layer_curves(parts), folder / "layers.png")
    return [*figures, ReportFigure("Explained variance per layer", caption, path)]


def _mixtures(folder: Path, rows: Sequence[LayerRow]) -> list[ReportFigure]:
    names = list(dict.fromkeys(row.layer for row in rows))
    figure = stacked_bars(
        rows, colours_of(names), lambda row: (row.layer, row.weight_mean), dict, "weight, mean over targets"
    )
    if figure is None:
        return []
    caption = (
        "How much each layer counts in the predictions of each ROI's targets. Targets that are not explained have "
        "about even weights, and layers that are alike share theirs by chance. layers.csv has the numbers, targets.csv "
        "each target's."
    )
    path = save_figure(figure, folder / "layer_weights_per_roi.png")
    return [ReportFigure("Weights of the layers", caption, path)]


def _bands(folder: Path, rows: Sequence[BandRow]) -> list[ReportFigure]:
    figures = []
    shares = band_shares(rows)
    if shares is not None:
        caption = (
            "What each band contributes to the variance that the whole model explains, as a share of it (product "
            "measure); the number on a bar is the R² that is shared out, mean over targets. A part below 0 makes the "
            "predictions worse; bars are cut at −0.5 and 1.5. ROIs with an R² below 0.01 have no bar. "
            f"{_R2} bands.csv has the numbers."
        )
        path = save_figure(shares, folder / "band_shares.png")
        figures.append(ReportFigure("Bands per ROI", caption, path))
    partition = variance_partition(rows)
    if partition is not None:
        caption = (
            "Variance that each of the two bands explains beyond the other, and that either explains (shared). The "
            "number on a bar is their sum, the R² of both together. A shared part below 0 means that the bands "
            f"explain more together than each alone would lead one to expect. {_R2}"
        )
        path = save_figure(partition, folder / "variance_partition.png")
        figures.append(ReportFigure("Unique and shared variance", caption, path))
    return figures


def _members(folder: Path, rows: Sequence[MemberRow]) -> list[ReportFigure]:
    figures = []
    names = list(dict.fromkeys(row.member for row in rows if row.weight_mean is not None))
    weights = stacked_bars(
        rows, colours_of(names), lambda row: (row.member, row.weight_mean), dict, "weight, mean over targets"
    )
    if weights is not None:
        caption = (
            "How much each member counts in each ROI; the number on a bar is the sum of the weights. A sum below 1 "
            "pulls predictions towards the mean response. Members that predict alike share their weight by chance. "
            "members.csv has the numbers, targets.csv each target's."
        )
        path = save_figure(weights, folder / "members_per_roi.png")
        figures.append(ReportFigure("Weights of the members", caption, path))
    partition = variance_partition(rows)
    if partition is not None:
        caption = (
            "Variance that the stack loses when it is learnt without a member, and what is left of the stack's R² when "
            "these parts are taken off (shared): what two members or more explain. The number on a bar is the R² of "
            f"the stack. {_R2} members.csv has the numbers, and what each member explains alone."
        )
        path = save_figure(partition, folder / "member_partition.png")
        figures.append(ReportFigure("What each member adds", caption, path))
    return figures


def _windows(
    folder: Path, parts: Sequence[tuple[Recording, Findings]], split: str, scores: Mapping[str, TargetScores]
) -> list[ReportFigure]:
    figures = []
    for recording, findings in parts:
        own = scores.get(recording.subject)
        by_side = windows_by_side(recording, findings, None if own is None else own.r2)
        figure = receptive_fields(by_side, f"R², {split} split" if findings.cv_r2 is None else "cross-validated R²")
        if figure is not None:
            alone = len(parts) == 1
            name = "receptive_fields" if alone else f"receptive_fields_{recording.subject}"
            title = "Receptive fields" if alone else f"Receptive fields, {recording.subject}"
            source = f"R² is that of the {split} split." if findings.cv_r2 is None else _R2
            caption = f"{_windows_caption(by_side, recording.num_targets)} {source}"
            figures.append(ReportFigure(title, caption, save_figure(figure, folder / f"{name}.png")))
    return figures


def _windows_caption(by_side: Mapping[str, Windows], num_targets: int) -> str:
    local = sum(len(windows.size) for windows in by_side.values())
    whole = sum(windows.whole for windows in by_side.values())
    return (
        f"Where targets look: {local + whole:,} of {num_targets:,} have an R² over {LOCATED}; of these {whole:,} "
        f"look at the whole image and {local:,} through a window, which are drawn here. Left: the image, with the "
        f"windows of up to {MOST_CIRCLES} best targets per hemisphere; a circle's radius is one standard deviation. "
        "Middle: mean of all windows. Right: size against the distance from the image's centre; dots grow with the "
        "number of targets, the line is their mean. If the eyes rested on the centre, each hemisphere is expected to "
        "look at the other side of the image."
    )
