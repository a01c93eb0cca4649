"""Maps on the cortex put values where the vertices are, on nilearn's fsaverage5 and on a FreeSurfer fsaverage."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calcarine.errors import InputError
from calcarine.evaluation.figures.cortex import plot
from calcarine.evaluation.figures.drawing import NEGATIVE
from calcarine.evaluation.figures.mesh import coarsened, load_meshes, read_flat_patch
from calcarine.evaluation.figures.surface import brain_maps, flat_maps, top_of, vertex_colours
from freesurfer import write_fsaverage, write_patch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

MESHES = load_meshes(None)


@pytest.mark.parametrize(("hemisphere", "outward"), [("lh", -1), ("rh", 1)])
def test_mesh_is_the_inflated_fsaverage5(hemisphere: str, outward: int) -> None:
    mesh = MESHES[hemisphere]
    assert mesh.points.shape == (10_242, 3)
    assert mesh.faces.shape == (20_480, 3)
    assert mesh.faces.max() == 10_241
    corners = mesh.points[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lateral = corners[:, :, 0].mean(axis=1) * outward > 35
    assert (normals[lateral, 0] * outward > 0).mean() > 0.95  # so that faces towards the viewer can be told


def panels(figure) -> list[np.ndarray]:
    """RGB of each panel of a figure, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    return [image[len(image) - int(b.y1) : len(image) - int(b.y0), int(b.x0) : int(b.x1)] for b in boxes]


def centre_of_colour(image: np.ndarray) -> float:
    """Where coloured pixels lie from left (0) to right (1); NaN where all are grey."""
    coloured = image.max(axis=2) - image.min(axis=2) > 40
    return float(np.flatnonzero(coloured.any(axis=0)).mean() / image.shape[1]) if coloured.any() else float("nan")


def test_values_lie_at_the_back_of_the_brain_seen_from_each_side() -> None:
    maps = {}
    for hemisphere in ("lh", "rh"):
        vertices = np.flatnonzero(MESHES[hemisphere].points[:, 1] < -85)
        maps[hemisphere] = vertices, np.full(len(vertices), 0.5)
    figure = brain_maps(MESHES, maps, "Pearson correlation", 0.5)
    assert figure is not None
    assert not figure.texts
    lh_lateral, lh_medial, _, _, rh_lateral, rh_medial = map(centre_of_colour, panels(figure)[:6])
    assert lh_lateral > 0.8  # from the left, the back of the left hemisphere is on the right
    assert lh_medial < 0.2
    assert rh_lateral < 0.2
    assert rh_medial > 0.8


def test_vertices_beyond_fsaverage5_are_left_out_and_told() -> None:
    figure = brain_maps(MESHES, {"lh": (np.array([5, 20_000]), np.array([0.2, 0.9]))}, "r", 0.5)
    assert figure is not None
    assert [text.get_text() for text in figure.texts] == ["fsaverage5 preview: 1 vertex in 16"]
    assert brain_maps(MESHES, {"lh": (np.array([20_000]), np.array([0.9]))}, "r", 0.5) is None
    assert brain_maps(MESHES, {"lh": (np.array([5]), np.array([np.nan]))}, "r", 0.5) is None
    assert brain_maps(MESHES, {}, "r", 0.5) is None


def test_vertices_have_the_colour_of_their_value_below_0_or_of_the_anatomy() -> None:
    values = np.full(10_242, np.nan)
    values[:3] = 0.0, 0.5, -0.1
    colours = vertex_colours(MESHES["lh"], values, 0.5)
    assert colours[0] == pytest.approx(to_rgb("#440154"), abs=0.01)
    assert colours[1] == pytest.approx(to_rgb("#fde725"), abs=0.01)
    assert colours[2] == pytest.approx(to_rgb(NEGATIVE))
    assert np.ptp(colours[3:], axis=1).max() == 0  # grey
    depth = MESHES["lh"].sulcal_depth[3:]
    assert colours[3:][depth > 0.5].mean() < colours[3:][depth < -0.5].mean()


def test_a_cortex_to_be_turned_tells_what_its_vertices_are() -> None:
    vertices = np.array([7, 9, 20_000])
    maps = {side: (vertices, np.array([0.25, -0.1, 0.9])) for side in ("lh", "rh")}
    assert top_of(maps) == pytest.approx(0.9, abs=0.05)
    names = {side: ["V1v, <early>", "", "beyond"] for side in maps}
    left, right, scale = plot(MESHES, maps, names, 0.5)["data"]
    assert {index: text for index, text in enumerate(left["text"]) if text} == {
        7: "0.250 V1v, &lt;early&gt;",
        9: "-0.100",
    }
    assert left["vertexcolor"][9] == NEGATIVE
    x = [np.frombuffer(base64.b64decode(each["x"]["bdata"]), "<f4") for each in (left, right)]
    assert x[0].max() < 0 < x[1].min()  # side by side, and not into each other
    assert right["i"]["dtype"] == "u2"
    assert np.frombuffer(base64.b64decode(right["i"]["bdata"]), "<u2").tolist() == MESHES["rh"].faces[:, 0].tolist()
    assert scale["marker"]["cmax"] == 0.5


@pytest.fixture(scope="module")
def fsaverage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fsaverage(tmp_path_factory.mktemp("subjects") / "fsaverage")


def test_a_freesurfer_fsaverage_has_all_vertices_and_flat_maps(fsaverage: Path) -> None:
    meshes = load_meshes(fsaverage)
    mesh = meshes["lh"]
    assert len(mesh) == 163_842
    assert mesh.faces.shape == (327_680, 3)
    np.testing.assert_allclose(mesh.points[:10_242], MESHES["lh"].points, atol=1e-3)
    assert mesh.flat is not None
    assert np.isnan(mesh.flat).any(axis=1).sum() == 1000  # cut out
    np.testing.assert_allclose(mesh.flat[2000:], mesh.points[2000:, 1:], atol=1e-3)
    assert meshes["rh"].flat is None
    maps = {side: (np.array([5, 160_000]), np.array([0.2, -0.9])) for side in meshes}
    figure = brain_maps(meshes, {"lh": maps["lh"]}, "r", 0.5)
    assert figure is not None
    assert not figure.texts  # nothing is left out
    flat = flat_maps(meshes, maps, "r", 0.5)
    assert flat is not None
    assert flat.axes[0].get_title() == "left hemisphere"
    assert flat_maps(MESHES, maps, "r", 0.5) is None


def test_a_browser_turns_fsaverage6(fsaverage: Path) -> None:
    mesh = coarsened(load_meshes(fsaverage)["rh"])
    assert len(mesh) == 40_962
    edges = mesh.points[mesh.faces] - mesh.points[np.roll(mesh.faces, 1, axis=1)]
    own = MESHES["rh"]
    coarse = own.points[own.faces] - own.points[np.roll(own.faces, 1, axis=1)]
    assert np.linalg.norm(edges, axis=2).mean() == pytest.approx(np.linalg.norm(coarse, axis=2).mean() / 2, rel=0.05)
    assert coarsened(own) is own


FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no surface": ("lh.inflated", lambda path: path.unlink(), "--report.fsaverage: .*found no .*lh.inflated"),
    "no depth": ("rh.sulc", lambda path: path.unlink(), "found no .*rh.sulc"),
    "text": ("lh.inflated", lambda path: path.write_text("no surface\n" * 9), "lh.inflated: .*cannot be read"),
    "depth of another mesh": (
        "lh.sulc",
        lambda path: write_depth(path, 10_242),
        "lh.sulc: expected fsaverage's 163,842 vertices, found 10,242",
    ),
    "no patch": ("lh.flat.patch", lambda path: path.write_text("?"), "lh.flat.patch: expected a flat patch"),
}


def write_depth(path: Path, count: int) -> None:
    from nibabel.freesurfer.io import write_morph_data

    write_morph_data(path, np.zeros(count, np.float32))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_folder_is_one_line(name: str, fsaverage: Path, tmp_path: Path) -> None:
    surf = tmp_path / "surf"
    surf.mkdir()
    file, damage, said = FAULTS[name]
    for each in (fsaverage / "surf").iterdir():
        (surf / each.name).symlink_to(each)
    (surf / "lh.full.flat.patch.3d").unlink()
    if (surf / file).exists():
        (surf / file).unlink()
        (surf / file).write_bytes((fsaverage / "surf" / file).read_bytes())
    damage(surf / file)
    with pytest.raises(InputError, match=said) as caught:
        load_meshes(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vertex", [-12, 12, 0])
def test_a_patch_with_vertices_out_of_range_is_refused(vertex: int, tmp_path: Path) -> None:
    path = tmp_path / "lh.flat.patch"
    write_patch(path, np.array([1, -2, vertex]), np.zeros((3, 3)))
    with pytest.raises(InputError, match="found a vertex or a place out of range"):
        read_flat_patch(path, 10)
    write_patch(path, np.array([1, -3]), np.array([[1, 2, 0], [3, 4, 0]]))
    assert np.nan_to_num(read_flat_patch(path, 4), nan=-1).tolist() == [[1, 2], [-1, -1], [3, 4], [-1, -1]]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="copy it again, or move it away"):
        read_flat_patch(path, 10)
