"""Thetas with the right shapes that no PLU layer could have."""
import re

import numpy as np
import pytest

from refvdm.flows import PLU


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


@pytest.mark.parametrize("perm", [[0, 1, 3], [0, 1, -1], [0.0, 1.0, 2.0]])
def test_perm_out_of_range(perm):
    layer = PLU(3)
    theta = layer.init(np.random.default_rng(0)) | {"perm": np.array(perm)}
    for call in (layer.forward, layer.inverse):
        with pytest.raises(ValueError, match="perm must be a permutation of 0..2"):
            call(theta, np.ones((1, 3)))
