"""QueryDecoder: against torch's decoder layer, queries in chunks, and attention on planted regions."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.encoders import PixelEncoder, TimmEncoder
from calcarine.errors import InputError
from calcarine.models import EncodingModule, QueryDecoder
from calcarine.models.heads import chunks
from calcarine.models.heads.attention import CrossAttention
from calcarine.run.main import main
from PIL import Image
from plain_facts import plain_facts
from torch import nn
from trees import write_folder

SHAPES = {"tokens": (5, 6), "map": (4, 2, 3), "vector": (7,)}
GROUPS = torch.tensor([0, 2, 1, 2, 0, 1, 1])
KNOWN = {"groups": GROUPS, "group_names": ["lh.a", "lh.b", "lh"]}
KNOWN |= {"coordinates": torch.arange(21.0).view(7, 3), "hemispheres": torch.zeros(7, dtype=torch.int64)}


def decoder(seed=0, **settings):
    """One of 7 targets in 3 ROIs, with weights."""
    torch.manual_seed(seed)
    made = QueryDecoder(SHAPES, 7, width=16, heads=4, **settings)
    made.fill(plain_facts(7, **KNOWN))
    with torch.no_grad():
        for parameter in (made.weight, made.bias, *([] if made.places is None else made.places.parameters())):
            parameter.add_(torch.randn_like(parameter))
    return made.eval()


def some_features(batch=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.randn(batch, *shape, generator=generator) for layer, shape in SHAPES.items()}


def test_a_block_is_torchs_decoder_layer_without_its_self_attention():
    torch.manual_seed(0)
    own = CrossAttention(16, 4, 0.1).eval()
    layer = nn.TransformerDecoderLayer(16, 4, 32, activation="gelu", batch_first=True, norm_first=True).eval()
    layer.multihead_attn.load_state_dict(own.attention.state_dict())
    for name, part in {"linear1": own.perceptron[0], "linear2": own.perceptron[2]}.items():
        getattr(layer, name).load_state_dict(part.state_dict())
    for parameter in layer.self_attn.parameters():
        nn.init.zeros_(parameter)
    query, memory = torch.randn(3, 5, 16), torch.randn(3, 9, 16)
    torch.testing.assert_close(own(query, memory, memory), layer(query, memory))
    looked = own.looked(query, memory, memory)
    torch.testing.assert_close(looked.sum(2), torch.ones(3, 5))


def test_a_target_is_read_from_the_query_of_its_smallest_roi():
    made, features = decoder(blocks=2), some_features()
    keys, values = made.tokens(features)
    assert keys.shape == (3, 5 + 6 + 1, 16)
    cell = made.tokens.projections[1](features["map"][:, :, 1, 0])  # row 1, column 0 of 3
    torch.testing.assert_close(values[:, 5 + 3], cell)
    gathered = made.query.expand(3, -1, -1)
    for block in made.blocks:
        gathered = block(gathered, keys, values)
    expected = torch.einsum("btw,tw->bt", gathered[:, GROUPS], made.weight) + made.bias
    torch.testing.assert_close(made(features), expected)


@pytest.mark.parametrize("queries", ["target", "place"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_queries_in_chunks_give_what_all_at_once_give(queries, dropout, monkeypatch):
    made, features = decoder(queries=queries, dropout=dropout), some_features()
    made.train(not dropout)  # dropout draws other numbers for other chunks

    def passed():
        prediction = made(features)
        return [prediction, *torch.autograd.grad(prediction.square().sum(), list(made.parameters()))]

    whole = passed()
    monkeypatch.setattr(chunks, "HELD_AT_ONCE", 1)
    for one, other in zip(whole, passed(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(chunks, "HELD_AT_ONCE", 1000)
    made.train()
    made(features).sum().backward()  # with dropout the second pass draws the same numbers, or torch would complain


@pytest.mark.parametrize("queries", ["roi", "target", "place"])
def test_attention_is_the_mean_over_stimuli_and_over_the_targets_of_a_roi(queries):
    made = decoder(queries=queries, blocks=2)
    features = some_features(batch=6)
    made.watch({layer: each[:2] for layer, each in features.items()}, 0)
    made.watch({layer: each[:0] for layer, each in features.items()}, 0)
    made.watch({layer: each[2:] for layer, each in features.items()}, 0)
    found = made.attention()
    assert found.rois == ["lh.a", "lh.b", "lh"]
    assert {layer: each.shape for layer, each in found.weight.items()} == {
        "tokens": (3, 5),
        "map": (3, 6),
        "vector": (3, 1),
    }
    np.testing.assert_allclose(np.concatenate(list(found.weight.values()), axis=1).sum(1), 1, atol=1e-6)
    assert found.places["map"].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert found.places["vector"].tolist() == [[-1, -1]]
    assert "tokens" not in found.places  # only the encoder knows
    keys, values = made.tokens(features)
    gathered, expected = made._queries().expand(6, -1, -1), 0
    for block in made.blocks:
        expected = expected + block.attention(block.norm(gathered), keys, values)[1].mean(0) / 2
        gathered = block(gathered, keys, values)
    if queries != "roi":
        expected = torch.stack([expected[group == GROUPS].mean(0) for group in range(3)])
    np.testing.assert_allclose(np.concatenate(list(found.weight.values()), axis=1), expected.detach(), atol=1e-6)
    assert not made.attention().weight["map"].any()  # what was told is forgotten


def test_tokens_of_an_encoder_lie_where_it_says():
    encoder = TimmEncoder("vit_tiny_patch16_224", weights="random", layers=["blocks.0", "blocks.2"], image_size=64)
    places = encoder.token_places()
    assert list(places) == ["blocks.0", "blocks.2"]
    assert places["blocks.2"].tolist() == [[-1, -1], *([row, column] for row in range(4) for column in range(4))]
    assert TimmEncoder("test_resnet", weights="random", layers=["layer2"]).token_places() == {}
    assert PixelEncoder().token_places() == {}


def test_what_it_cannot_take_is_named():
    for said, settings in {
        "heads 0": {"heads": 0},
        "blocks 0": {"blocks": 0},
        "width 20: expected a multiple of --model.head.heads 8": {"width": 20},
        "dropout 1": {"dropout": 1.0},
    }.items():
        with pytest.raises(InputError, match=said):
            QueryDecoder(SHAPES, 7, **settings)
    with pytest.raises(InputError, match=r"layer clip of shape \(2, 3, 4, 4\)"):
        QueryDecoder({"clip": (2, 3, 4, 4)}, 7)
    with pytest.raises(InputError, match="QueryDecoder: expected the place of every target"):
        QueryDecoder(SHAPES, 7, queries="place").check(plain_facts(7))
    with pytest.raises(InputError, match="average_frames"):
        QueryDecoder(SHAPES, 7).check(plain_facts(7, frames=5))


BACKBONE = """
data:
  source: {class_path: calcarine.data.Folder, init_args: {root: mine}}
  encoder: null
  image_size: 32
model:
  class_path: calcarine.models.EncodingModule
  init_args:
    backbone:
      class_path: calcarine.encoders.TimmEncoder
      init_args: {model: vit_tiny_patch16_224, weights: random, layers: [blocks.0, blocks.1], image_size: 64}
    head: {class_path: calcarine.models.QueryDecoder, init_args: {width: 16, heads: 2, queries: target}}
    hemisphere_networks: true
trainer: {max_epochs: 1}
"""


def test_tokens_of_a_backbone_that_is_trained_and_a_network_of_each_hemisphere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "mine", 40, 6)
    rois = [f"{target},{'lh' if target < 3 else 'rh'},V1" for target in range(5)]
    Path("mine/rois.csv").write_text("\n".join(["target,hemisphere,roi", *rois, "5,rh,V2"]) + "\n")
    Path("backbone.yaml").write_text(BACKBONE)
    assert main(["--config=backbone.yaml", "--name=backbone", *QUIET]) == 0
    with Path("runs/backbone/version_0/attention.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 17  # ROIs, layers, 4 × 4 patches and a class token
    assert {row["roi"] for row in rows} == {"lh.V1", "rh.V1", "rh.V2"}
    assert {(row["row"], row["column"]) for row in rows if row["token"] == "0"} == {("", "")}
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(3, abs=1e-4)
    assert Path("runs/backbone/version_0/figures/attention.png").is_file()
    again = EncodingModule.load_from_checkpoint("runs/backbone/version_0/checkpoints/best.ckpt")
    images = [np.array(Image.open(path)) for path in sorted(Path("mine/images").iterdir())[:3]]
    assert again.predict(images).isfinite().all()


CELLS = {"upper_left": (0, 0), "upper_right": (0, 3), "middle": (2, 1), "lower_right": (3, 2)}
"""Row and column, of 4, of the region that each ROI reads."""
CONFIG = """
data:
  source: {class_path: calcarine.data.Folder, init_args: {root: mine}}
  encoder: {class_path: calcarine.encoders.PixelEncoder, init_args: {size: 4}}
model:
  class_path: calcarine.models.EncodingModule
  init_args:
    head: {class_path: calcarine.models.QueryDecoder, init_args: {width: 32, heads: 4, dropout: 0.0}}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}
    scheduler: {class_path: calcarine.models.OneCycle}
early_stopping: {patience: 30}
trainer: {max_epochs: 30}
"""
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def write_regions(root):
    """A folder in which each ROI's 6 targets read the colour of one cell of 4 × 4."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (500, 4, 4, 3), dtype=np.uint8)
    (root / "images").mkdir(parents=True)
    for index, image in enumerate(cells):
        Image.fromarray(image.repeat(8, axis=0).repeat(8, axis=1)).save(root / "images" / f"{index:03d}.png")
    colours = [cells[:, row, column] / 127.5 - 1 for row, column in CELLS.values()]
    responses = np.concatenate([each @ rng.standard_normal((3, 6)) for each in colours], axis=1)
    noisy = responses / responses.std(0) + 0.7 * rng.standard_normal(responses.shape)
    np.save(root / "responses.npy", noisy.astype(np.float32))
    lines = [f"{6 * number + each},lh,{roi}" for number, roi in enumerate(CELLS) for each in range(6)]
    (root / "rois.csv").write_text("\n".join(["target,hemisphere,roi", *lines]) + "\n")


def trained(name, *flags):
    """Attention by ROI (4, 4), and mean test correlation, by the real command line."""
    assert main(["--config=regions.yaml", f"--name={name}", *flags, *QUIET]) == 0
    found = {roi: np.zeros((4, 4)) for roi in CELLS}
    with Path(f"runs/{name}/version_0/attention.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["roi"].removeprefix("lh.")][int(row["row"]), int(row["column"])] = float(row["weight"])
    with Path(f"runs/{name}/version_0/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["roi"]) == ("test", "all")]
    return found, float(rows[0]["pearson_mean"])


def test_attention_falls_on_the_planted_region_and_of_shuffled_responses_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_regions(tmp_path / "mine")
    Path("regions.yaml").write_text(CONFIG)
    found, correlation = trained("planted")
    assert correlation > 0.6
    for roi, cell in CELLS.items():
        assert found[roi].argmax() == np.ravel_multi_index(cell, (4, 4)), (roi, found[roi])
        assert found[roi][cell] > 4 / 16  # four times an even attention
    assert "Attention of the ROIs" in Path("runs/planted/version_0/report.html").read_text()
    control, correlation = trained("control", "--data.source.shuffle=true")
    assert abs(correlation) < 0.1
    assert np.mean([control[roi][cell] for roi, cell in CELLS.items()]) < 2 / 16
