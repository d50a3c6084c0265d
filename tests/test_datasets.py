"""The digits are the published numbers in the agreed split; levels scale onto [-1, 1] and back."""
from fractions import Fraction

import numpy as np
import pytest

from refvdm.datasets import Crescents, Ring, digits, scale_levels


def test_split_shapes_types_and_range():
    train, validation, test = data = digits()
    assert data.train is train and data.validation is validation and data.test is test
    assert [x.shape for x in data] == [(1000, 64), (350, 64), (447, 64)]
    for x in data:
        assert x.dtype == np.int64 and x.min() == 0 and x.max() == 16


def test_first_and_last_image_of_the_published_file():
    """The first row of the UCI test file is a nought; its pixel sums and the corner columns are well known."""
    first = digits().train[0].reshape(8, 8)
    assert first[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert first[1].tolist() == [0, 0, 13, 15, 10, 15, 5, 0]
    whole = np.concatenate(digits())
    assert len(whole) == 1797 and not whole[:, 0].any() and len(np.unique(whole, axis=0)) > 1700


def test_two_calls_are_independent():
    digits().train[0, 0] = 16
    assert digits().train[0, 0] == 0


def test_entropy_of_the_pixels_matches_the_global_categorical():
    """facts of the data: a global categorical fitted on train costs 2.948 bits/dim on test."""
    data = digits()
    p = np.bincount(data.train.ravel(), minlength=17) / data.train.size
    assert -np.log2(p)[data.test].mean() == pytest.approx(2.948, abs=5e-4)


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_scale_levels_is_minus_one_plus_two_k_over_levels_minus_one(levels):
    got = scale_levels(np.arange(levels), levels)
    exact = [float(-1 + Fraction(2 * k, levels - 1)) for k in range(levels)]
    np.testing.assert_allclose(got, exact, rtol=0, atol=3e-16)
    assert got[0] == -1 and got[-1] == 1 and got.dtype == np.float64
    assert np.array_equal(got, np.linspace(-1, 1, levels))


def test_scale_levels_shapes_and_unsigned():
    x = np.array([[0, 1], [2, 1]], np.uint8)
    assert scale_levels(x, 3).tolist() == [[-1, 0], [1, 0]]
    assert scale_levels(np.zeros((0, 4), int), 3).shape == (0, 4)


def test_scale_levels_errors():
    for bad in (np.zeros(2), np.array([True]), [0.5]):
        with pytest.raises(TypeError, match="scale_levels: x must hold integers 0..2, got dtype"):
            scale_levels(bad, 3)
    for bad in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"scale_levels: x must hold integers 0\.\.2, got values"):
            scale_levels(np.array(bad), 3)
    with pytest.raises(ValueError, match="levels must be an integer of at least 2, got 1"):
        scale_levels(np.array([0]), 1)


@pytest.mark.parametrize("density", [Ring(), Ring(5, 1.0, 0.4), Crescents()])
def test_a_density_integrates_to_one_and_its_samples_follow_it(density):
    """The integral of p over a fine grid is 1; means of x, x² and log p over samples are those of p,
    within 5 standard errors."""
    axis = np.linspace(-15, 15, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    p = np.exp(density.log_prob(grid)) * (axis[1] - axis[0]) ** 2
    assert p.sum() == pytest.approx(1, abs=1e-6)
    x = density.sample(20_000, np.random.default_rng(0))
    assert x.shape == (20_000, 2)
    for f in (lambda x: x[..., 0], lambda x: x[..., 1], lambda x: x[..., 0] ** 2, lambda x: x[..., 1] ** 2,
              lambda x: x[..., 0] * x[..., 1], lambda x: x[..., 0] ** 3 * x[..., 1], density.log_prob):
        seen = f(x)
        assert abs(seen.mean() - (p * f(grid)).sum()) < 5 * seen.std() / len(x) ** 0.5
