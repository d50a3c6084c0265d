"""The moves that make more training images: each NumPy's own flip, transposition or shift, and the network is told."""
import importlib
import itertools
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from refvdm.autodiff import ravel
from refvdm.checkpoint import load_checkpoint
from refvdm.datasets import digits

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
moves, vdm_digits = importlib.import_module("moves"), importlib.import_module("vdm_digits")


def by_hand(image, move):
    upside_down, mirrored, transposed, down, right = move
    image = image[::-1] if upside_down else image
    image = image[:, ::-1] if mirrored else image
    image = image.T if transposed else image
    framed = np.pad(image, 1, constant_values=-1)
    side = len(image)
    return framed[1 - down : 1 - down + side, 1 - right : 1 - right + side]


def test_every_move_is_a_flip_a_transposition_and_a_shift():
    every = np.array(list(itertools.product((0, 1), (0, 1), (0, 1), (-1, 0, 1), (-1, 0, 1))))
    x = np.random.default_rng(0).standard_normal((len(every), 25)).astype(np.float32)
    found = moves.moved(x, every)
    assert found.dtype == x.dtype
    for image, move, y in zip(x.reshape(-1, 5, 5), every, found.reshape(-1, 5, 5)):
        np.testing.assert_array_equal(y, by_hand(image, move), str(move))


def test_moved_digits_keep_their_levels_and_three_in_four_stay():
    rng, (x, *_) = np.random.default_rng(1), digits()
    x = x / 8 - 1
    drawn = moves.draw(len(x), rng)
    y, still = moves.moved(x, drawn), ~drawn.any(axis=1)
    assert set(np.unique(y)) <= set(np.unique(x))
    assert 0.66 < still.mean() < 0.83  # 0.95³ (14/15)² = 0.747, standard deviation 0.014
    np.testing.assert_array_equal(y[still], x[still])
    assert (np.abs(drawn).sum(axis=0) > 20).all()  # 50 or 67 expected, standard deviation at most 8


class Seen:
    """A network that gives back what it is told of the level."""

    def init(self, rng, dtype=np.float32):
        return {}

    def __call__(self, theta, x, level):
        return level


def test_the_network_is_told_of_both_noisy_images_and_of_nothing_without_moves():
    rng, told = np.random.default_rng(2), moves.Told(Seen())
    theta = {"network": told.init(rng), "bias": np.zeros(3, np.float32)}
    drawn, level = moves.draw(40, rng), rng.standard_normal((80, 8)).astype(np.float32)
    found = told(moves.tell(theta, drawn)["network"], np.zeros((80, 4)), level)
    expected = level + np.concatenate([drawn, drawn]) @ theta["network"]["moves"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found.dtype == np.float32
    assert told(theta["network"], np.zeros((80, 4)), level) is level
    assert set(theta["network"]) == {"network", "moves"}  # telling leaves the parameters as they were


def test_interrupted_digits_go_on_with_the_same_bits_and_learn_from_the_moves(tmp_path, monkeypatch):
    args = Namespace(data=None, levels=None, steps=4, seed=3)
    data = vdm_digits.load(args)
    data = data._replace(validation=data.validation[:8])
    vdm, real = vdm_digits.build(data), vdm_digits.VDM.elbo_estimate
    whole = vdm_digits.train(vdm, data, args, tmp_path / "whole.npz")
    asked = []

    def interrupted(*args, **kwargs):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(vdm_digits.VDM, "elbo_estimate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vdm_digits.train(vdm, data, args, tmp_path / "again.npz")
    assert load_checkpoint(tmp_path / "again.npz")["step"] == 2
    again = vdm_digits.train(vdm, data, args, tmp_path / "again.npz")
    np.testing.assert_array_equal(ravel(again.best)[0], ravel(whole.best)[0])
    start = vdm.denoiser.init(np.random.default_rng(3), data.train)
    assert (whole.theta["network"]["moves"] != start["network"]["moves"]).all()
    assert "told" not in whole.best["network"]
