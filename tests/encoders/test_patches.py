"""PatchEncoder: what it learns, what it computes, and what it refuses."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from calcarine.encoders import PatchEncoder, patches
from calcarine.encoders.base import prepare_images
from calcarine.encoders.kmeans import spherical_kmeans
from calcarine.errors import InputError
from sklearn.decomposition import PCA
from torch import Tensor


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "FIT_PATCHES", 4000)


def pictures(count: int = 20, seed: int = 0, size: int = 40) -> Tensor:
    """Smooth noise, uint8 (count, 3, size, size)."""
    coarse = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def fitted(images: Tensor | None = None, **settings: int) -> PatchEncoder:
    encoder = PatchEncoder(**{"patches": 16, "image_size": 32, "grid": 4, **settings})
    encoder.fit(pictures() if images is None else images)
    return encoder


def test_k_means_finds_planted_directions() -> None:
    rng = np.random.default_rng(0)
    planted = np.linalg.qr(rng.standard_normal((30, 8)))[0].T  # (8, 30), orthogonal
    which, size = rng.integers(0, 8, 4000), rng.choice([-1, 1], 4000) * rng.uniform(1, 3, 4000)
    points = planted[which] * size[:, None] + 0.05 * rng.standard_normal((4000, 30))
    found = spherical_kmeans(torch.from_numpy(points).float(), 12, 10, torch.Generator().manual_seed(0))
    assert found.isfinite().all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(12))
    similarity = np.abs(planted @ found.numpy().T)
    assert (similarity.max(1) > 0.99).sum() >= 7


def test_k_means_with_more_directions_than_points() -> None:
    points = torch.eye(4)[:3]
    found = spherical_kmeans(points, 9, 5, torch.Generator().manual_seed(0))
    assert found.isfinite().all()
    assert ((found @ points.T).abs().max(0).values > 0.99).all()


def test_patches_are_whitened_as_scikit_learn_whitens_them() -> None:
    encoder = fitted()
    points = normalised(prepare_images(pictures(), 32), 6, 1).reshape(-1, 108)
    centred = (points - encoder.patch_mean) @ encoder.whitening
    covariance = np.cov(centred.T.numpy(), bias=True)
    reference = PCA().fit(points.double().numpy())
    own = reference.explained_variance_ / (reference.explained_variance_ + patches.WHITENING_FLOOR)
    expected = reference.components_.T * own @ reference.components_
    np.testing.assert_allclose(covariance, expected, atol=0.12)  # fitted on a sample of them
    assert np.abs(covariance - expected).mean() < 0.01


def normalised(pixels: Tensor, size: int, stride: int) -> Tensor:
    windows = F.unfold(pixels, size, stride=stride).mT  # (B, positions, width)
    centred = windows - windows.mean(2, keepdim=True)
    return centred / (centred.square().mean(2, keepdim=True) + patches.CONTRAST_FLOOR).sqrt()


@pytest.mark.parametrize("patch_size", [5, 6])
def test_activations_are_those_of_patches_one_by_one(patch_size: int) -> None:
    encoder = fitted(patch_size=patch_size)
    images = pictures(3, seed=1)
    pixels = prepare_images(images, 32)
    before = (patch_size - 2) // 2
    padded = F.pad(pixels, (before, patch_size - 2 - before) * 2, mode="replicate")
    whitened = (normalised(padded, patch_size, 2) - encoder.patch_mean) @ encoder.whitening
    active = (whitened @ encoder.dictionary.T - patches.THRESHOLD).relu()  # (3, 16 · 16, 16)
    expected = active.mT.unflatten(2, (4, 4, 4, 4)).mean((3, 5))  # (3, 16, 4, 4)
    torch.testing.assert_close(encoder(images)["patches"], expected, atol=1e-4, rtol=1e-3)
    assert (expected > 0).float().mean() > 0.2


def test_activations_have_a_place() -> None:
    encoder = fitted()
    image = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    image[..., 24:, :8] = pictures(1, seed=5, size=8)[0]
    maps = encoder(image)["patches"] - encoder(torch.full_like(image, 128))["patches"]
    energy = maps.abs().sum(1)[0]
    assert energy.argmax() == 3 * 4  # bottom left
    assert energy[:2, 2:].max() == 0


def test_the_same_images_and_seed_give_the_same_fit_and_others_another() -> None:
    encoder, again = fitted(), fitted()
    assert encoder.fingerprint() == again.fingerprint()
    assert json.loads(json.dumps(encoder.fingerprint())) == encoder.fingerprint()
    changed = pictures()
    changed[7] = 255 - changed[7]
    assert fitted(changed).fingerprint() != encoder.fingerprint()
    assert not torch.equal(fitted(seed=1).dictionary, encoder.dictionary)
    state = torch.get_rng_state()
    fitted()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_forward_before_the_fit_is_refused_and_the_shapes_are_known() -> None:
    encoder = PatchEncoder(patches=16, image_size=32, grid=28 // 2)
    assert encoder.needs_fit
    assert encoder.feature_shapes() == {"patches": (16, 14, 14)}
    with pytest.raises(InputError, match="expected to be fitted"):
        encoder(pictures(1))
    encoder.fit(pictures())
    assert tuple(encoder(pictures(2))["patches"].shape[1:]) == encoder.feature_shapes()["patches"]


def test_a_fitted_state_travels(tmp_path) -> None:
    encoder = fitted()
    torch.save(encoder.state_dict(), tmp_path / "fitted.pt")
    other = PatchEncoder(patches=16, image_size=32, grid=4)
    other.load_state_dict(torch.load(tmp_path / "fitted.pt", weights_only=True))
    assert torch.equal(other(pictures(2))["patches"], encoder(pictures(2))["patches"])
    assert other.fingerprint() == encoder.fingerprint()


@pytest.mark.parametrize("images", [torch.zeros(3, 3, 20, 20), torch.full((1, 3, 9, 30), 255)])
def test_images_without_contrast_are_encoded_finitely(images: Tensor) -> None:
    encoder = fitted(images.to(torch.uint8))
    assert encoder(pictures(2))["patches"].isfinite().all()
    assert encoder(images.to(torch.uint8))["patches"].isfinite().all()


def test_a_fit_reads_a_sample_of_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "FIT_IMAGES", 5)
    read = []

    class Watched:
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> Tensor:
            read.append(index)
            return pictures()[index]

    PatchEncoder(patches=4, image_size=32, grid=4).fit(Watched())
    assert len(set(read)) == len(read) == 5


@pytest.mark.parametrize("wrong", [{"patches": 0}, {"patch_size": 1}, {"image_size": 5}, {"grid": 0}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=rf"--data\.encoder\.{next(iter(wrong))}: expected at least .* found"):
        PatchEncoder(**wrong)


def test_a_grid_finer_than_the_patches_is_refused() -> None:
    with pytest.raises(InputError, match=r"--data\.encoder\.image_size: expected at least 80, found 64"):
        PatchEncoder(grid=40)
