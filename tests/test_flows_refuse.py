"""What flows refuse: thetas with the right shapes that no PLU layer could have, inputs that are no arrays of floats."""
import re

import numpy as np
import pytest

from refvdm.flows import PLU, Flow, Squeeze, dequantize


@pytest.mark.parametrize("perm", [[0, 1, 1], [0, 0, 2], [2, 2, 2]])
def test_perm_must_be_a_permutation(perm):
    """With an index twice one element of x would be in y twice and another not at all:
    W would be singular, whatever log_scale says."""
    layer = PLU(3)
    theta = layer.init(np.random.default_rng(0)) | {"perm": np.array(perm)}
    message = re.escape(f"PLU: perm must be a permutation of 0..2, got {np.array(perm)}")
    for call in (layer.forward, layer.inverse):
        with pytest.raises(ValueError, match=message):
            call(theta, np.ones((2, 3)))
    with pytest.raises(ValueError, match=message):
        layer.matrix(theta)


def test_perm_and_sign_must_be_integers():
    """A float would be a parameter that is learned, a list has no dtype."""
    layer = PLU(3)
    theta = layer.init(np.random.default_rng(0))
    for key in ("perm", "sign"):
        for bad, got in ((theta[key].astype(float), "dtype float64"), (theta[key].tolist(), "list"),
                         (theta[key].astype(bool), "dtype bool"), (np.ma.array(theta[key]), "a masked array")):
            for call in (lambda t: layer.forward(t, np.ones((1, 3))), lambda t: layer.inverse(t, np.ones((1, 3))),
                         layer.matrix, layer.sign, layer.log_det):
                with pytest.raises(TypeError, match=rf"PLU: theta\['{key}'\] must be an array of integers, got {got}"):
                    call(theta | {key: bad})


@pytest.mark.parametrize("perm", [[0, 1, 3], [0, 1, -1]])
def test_perm_out_of_range(perm):
    layer = PLU(3)
    theta = layer.init(np.random.default_rng(0)) | {"perm": np.array(perm)}
    for call in (layer.forward, layer.inverse):
        with pytest.raises(ValueError, match="perm must be a permutation of 0..2"):
            call(theta, np.ones((1, 3)))


def test_squeeze_takes_images_of_floats():
    for call, name in ((Squeeze().forward, "x"), (Squeeze().inverse, "y")):
        with pytest.raises(TypeError, match=f"Squeeze: {name} must be an array of floats, got dtype int64"):
            call({}, np.ones((1, 2, 2, 4), np.int64))
    with pytest.raises(ValueError, match=r"Squeeze: y must have shape \(batch, h, w, c\), got \(2, 4\)"):
        Squeeze().inverse({}, np.ones((2, 4)))


def test_masks_and_matrices_are_not_dropped():
    """As plain arrays they would mean something else."""
    with pytest.raises(TypeError, match="PLU.from_matrix: W must be an array of floats, got a masked array"):
        PLU.from_matrix(np.ma.array(np.eye(2), mask=np.eye(2)))
    with pytest.raises(TypeError, match="PLU.from_matrix: W must be an array of floats, got an np.matrix"):
        PLU.from_matrix(np.eye(2).view(np.matrix))
    with pytest.raises(TypeError, match="dequantize: x must hold integers 0..3, got a masked array"):
        dequantize(np.ma.array([1, 2], mask=[0, 1]), 4, np.random.default_rng(0))


def test_a_flows_z_must_be_floats():
    flow = Flow([PLU(2)])
    theta = flow.init(np.random.default_rng(0))
    with pytest.raises(TypeError, match="Flow.sample: z must be an array of floats, got list"):
        flow.sample(theta, (1, 2), z=[[0.0, 1.0]])


@pytest.mark.parametrize("levels", [0, 1.5, None])
def test_dequantize_needs_a_number_of_levels(levels):
    with pytest.raises(ValueError, match=f"dequantize: levels must be an integer of at least 1, got {levels!r}"):
        dequantize(np.zeros(2, int), levels, np.random.default_rng(0))
