import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from src.data.reduction import PrincipalComponents
from src.errors import InputError


@pytest.mark.parametrize(("stimuli", "features"), [(120, 40), (40, 120)])
def test_agrees_with_scikit_learn(stimuli, features):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((stimuli, 10)) @ rng.standard_normal((10, features)) + 5
    data = (data + 0.1 * rng.standard_normal(data.shape)).astype(np.float32)
    new = rng.standard_normal((7, features)).astype(np.float32)
    ours = PrincipalComponents(6).fit(lambda: torch.from_numpy(data).split(33), features, "layer")
    theirs = PCA(6, svd_solver="full").fit(data)
    for rows in (data, new):
        projected, reference = ours(torch.from_numpy(rows)).numpy(), theirs.transform(rows)
        signs = np.sign((projected * reference).sum(0))
        np.testing.assert_allclose(projected * signs, reference, rtol=1e-3, atol=1e-3)


def test_more_components_than_stimuli_span_is_refused():
    with pytest.raises(InputError, match="conv1 has 20 training stimuli"):
        PrincipalComponents(20).fit(lambda: [torch.randn(20, 50)], 50, "conv1")


def test_shapes_before_fitting():
    shapes = {"a": (3, 4, 4), "b": (10,)}
    assert PrincipalComponents(20).shapes(shapes) == {"a": (20,), "b": (10,)}
