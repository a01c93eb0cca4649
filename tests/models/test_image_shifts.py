"""Predictions averaged over shifted images: those of images shifted by hand, wherever a trained model predicts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from calcarine.errors import InputError
from calcarine.models import EncodingModule, Full
from calcarine.models.image_shifts import shifted_by
from calcarine.names import TEST
from calcarine.run.main import main
from lightning.pytorch import Callback, LightningModule, Trainer
from tiny_backbone import TinyBackbone, fit


class OfTheTest(Callback):
    """Keeps what the test predicted of its split."""

    def __init__(self) -> None:
        self.predictions: list[torch.Tensor] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if pl_module.facts.evaluated[dataloader_idx] == TEST:
            self.predictions.append(outputs["prediction"])


def by_hand(images: np.ndarray, down: int, right: int, most: int) -> np.ndarray:
    """Images (n, height, width, 3) seen through a frame that is moved over them, their edges going on outwards."""
    height, width = images.shape[1:3]
    wide = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    return wide[:, most - down : most - down + height, most - right : most - right + width]


def test_test_and_new_images_have_the_mean_of_images_shifted_by_hand(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, data, trainer, _ = fit(tmp_path, Full(), epochs=1, model={"test_shifts": [1, 2]})
    torch.nn.init.normal_(model.head.weight)  # after an epoch it has hardly left 0
    trainer.callbacks.append(tested := OfTheTest())
    trainer.test(model, data, verbose=False)
    positions = data.positions(TEST)
    images = np.stack([data.recordings[0].stimuli.read(int(index)) for index in positions])
    new = model.predict(images)
    assert torch.equal(new, torch.cat(tested.predictions))

    model.test_shifts = []
    moves = [(0, 0), *((a * n, b * n) for n in (1, 2) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1)))]
    single = [model.predict(by_hand(images, down, right, 2)) for down, right in moves]
    torch.testing.assert_close(new, torch.stack(single).mean(0), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(new, single[0], rtol=1e-3)


def test_without_shifts_nothing_is_added(tmp_path: Path) -> None:
    model, data, *_ = fit(tmp_path, Full(), epochs=1)
    batch = next(iter(data.val_dataloader()))
    model.eval()
    assert batch.images is not None
    with torch.no_grad():
        plain = model.standardize_responses.invert(model.head(model.backbone(batch.images)))
        assert torch.equal(model.predict_batch(batch), plain)


def test_training_does_not_see_shifts(tmp_path: Path) -> None:
    without, *_ = fit(tmp_path, Full(), epochs=2)
    shifted, _, _, stopping = fit(tmp_path, Full(), epochs=2, model={"test_shifts": [1]})
    assert stopping.best_epoch.tolist() == [1]
    assert all(map(torch.equal, without.state_dict().values(), shifted.state_dict().values()))


def test_clips_are_shifted_frame_by_frame() -> None:
    clips = torch.randint(0, 256, (2, 3, 3, 6, 5), dtype=torch.uint8)
    moved = shifted_by(clips, 2, -1)
    frames = clips.flatten(0, 1).movedim(1, -1).numpy()
    expected = torch.from_numpy(by_hand(frames, 2, -1, 2)).movedim(-1, 1).unflatten(0, (2, 3))
    assert torch.equal(moved, expected)


def test_what_cannot_be_shifted_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--data.encoder=PixelEncoder", "--model.test_shifts=[2]"]) == 2
    message = capsys.readouterr().err.strip()
    assert "--model.test_shifts [2]: expected a --model.backbone" in message
    assert "\n" not in message
    for pixels in ([0], [2, 2]):
        with pytest.raises(InputError, match="expected different numbers of pixels"):
            EncodingModule(4, None, backbone=TinyBackbone(), test_shifts=pixels)
