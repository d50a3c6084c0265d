"""Flow layers and their starts as whole objects: the right ones pass in either precision, the wrong are named."""

import numpy as np
import pytest

from refvdm.conformance.objects import check_flow_layer, check_initialisation
from refvdm.flows import PLU, ActNorm, AffineCoupling


def told(report, words):
    """It fails, and says so."""
    why = " / ".join(f"{v.name}: {v.why}" for v in report.verdicts)
    assert report.status == 1 and words in why, why


# ---------------------------------------------------------------- flow layers


RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((3, 2, 4, 3))
LAYER = PLU(3)
THETA = LAYER.init(RNG)
THETA = {**THETA, "log_scale": RNG.uniform(-0.5, 0.7, 3)}


@pytest.mark.parametrize("layer, x", [(PLU(3), IMAGES), (ActNorm(3), IMAGES), (PLU(4), IMAGES[:, 0, :, 0]),
                                      (AffineCoupling(3, hidden=4), IMAGES[:, 0, 0])])
def test_right_layers_pass(layer, x):
    theta = layer.init(np.random.default_rng(1), x)
    report = check_flow_layer(lambda x: layer.forward(theta, x), lambda y: layer.inverse(theta, y), x)
    assert report.status == 0, report.table()


@pytest.mark.parametrize("forward, inverse, words", [
    (lambda y, d: (y, -d), lambda x, d: (x, d), "log_det: it matches the reference if its sign is the other one"),
    (lambda y, d: (y, 0 * d), lambda x, d: (x, 0 * d), "it is missing (0)"),
    (lambda y, d: (y, d / 8), lambda x, d: (x, d / 8), "forgets the positions (channels last)"),
    (lambda y, d: (y, 2 * d), lambda x, d: (x, 2 * d), "it is doubled"),
    (lambda y, d: (y, d), lambda x, d: (x, -d), "it has the sign of the forward one"),
    (lambda y, d: (y, np.exp(d)), lambda x, d: (x, -np.exp(-d)), "the determinant, not its logarithm"),
    (lambda y, d: (y, 0 * d + d.sum()), lambda x, d: (x, 0 * d + d.sum()), "summed over the batch"),
    (lambda y, d: (y, d), lambda x, d: (x[..., ::-1], d), "inverse of forward: no known mistake"),
    (lambda y, d: (y, d.sum()), lambda x, d: (x, d), "log_det must have shape (3,), got ()"),
])
def test_wrong_layers_are_named(forward, inverse, words):
    told(check_flow_layer(lambda x: forward(*LAYER.forward(THETA, x)), lambda y: inverse(*LAYER.inverse(THETA, y)),
                          IMAGES), words)
    told(check_flow_layer(lambda x: LAYER.forward(THETA, x), lambda y: LAYER.forward(THETA, y), IMAGES),
         "the inverse is the forward map")


# ---------------------------------------------------------------- a matrix, its condition, its precision


def matrix(condition):
    q, r = (np.linalg.qr(RNG.standard_normal((3, 3)))[0] for _ in "qr")
    return (q * np.geomspace(2.0, 2.0 / condition, 3)) @ r


def affine(W, back=None, shift=0.5, off=0.0, dtype=float, unshift=lambda x, y, V, b: (y - b) @ V.T):
    """y = W x + shift, its inverse by the matrix back."""
    V, log_det = np.linalg.inv(W) if back is None else back, np.linalg.slogdet(W)[1] * 8 + off
    W, V, b = W.astype(dtype), V.astype(dtype), dtype(shift)
    return (lambda x: (x.astype(dtype) @ W.T + b, np.full(len(x), log_det, dtype)),
            lambda y: (unshift(None, y.astype(dtype), V, b), np.full(len(y), -log_det, dtype)))


@pytest.mark.parametrize("condition, dtype", [(1e6, np.float64), (1e9, np.float64), (1e3, np.float32)])
def test_an_ill_conditioned_matrix(condition, dtype):
    W = matrix(condition)
    report = check_flow_layer(*affine(W, dtype=dtype), IMAGES)
    assert report.status == 0, report.table()
    wrong = {"log_det": affine(W, off=0.2, dtype=dtype), "inverse of forward": affine(W, back=W.T, dtype=dtype)}
    for name, layer in wrong.items():
        assert {v.name: v.status for v in check_flow_layer(*layer, IMAGES).verdicts}[name] == "FAIL"


def test_what_cannot_be_told_is_told():
    report = check_flow_layer(*affine(matrix(1e8), dtype=np.float32), IMAGES)
    assert [v.status for v in report.verdicts] == ["error"] * 3
    told(report, "too much for numbers of a precision of 1e-07")
    singular = lambda x: (np.repeat(x[:, :1], 2, axis=1), np.zeros(len(x)))
    told(check_flow_layer(singular, singular, np.eye(2)), "the Jacobian of forward is singular, at example 0")


def test_a_layer_of_a_part_of_space_and_one_with_a_kink():
    log = lambda x: (np.log(x), -np.log(x).sum(1)), lambda y: (np.exp(y), y.sum(1))
    bent = lambda x: (np.where(x > 0, x, x / 4), (x < 0).sum(1) * -np.log(4.0))
    straight = lambda y: (np.where(y > 0, y, y * 4), (y < 0).sum(1) * np.log(4.0))
    assert check_flow_layer(*log, 0.01 + np.abs(IMAGES[0, 0])).status == 0
    assert check_flow_layer(bent, straight, IMAGES[0, 0]).status == 0
    sinh = lambda x: (np.sinh(x), np.log(np.cosh(x)).sum(1)), lambda y: (np.arcsinh(y), -np.log1p(y**2).sum(1) / 2)
    assert max(v.worst for v in check_flow_layer(*sinh, IMAGES[0, 0]).verdicts) < 1e-3


LOWER = np.tril(RNG.uniform(0.3, 0.8, (3, 3)))  # its diagonal is to be masked to 1, and is not
UPPER = np.triu(RNG.uniform(0.5, 2, (3, 3)))
SOME = matrix(5.0)


@pytest.mark.parametrize("layer, words", [
    (affine(LOWER @ UPPER, off=-8 * np.log(np.diag(LOWER)).sum()), "as where a factor is left out"),
    (affine(SOME, back=np.linalg.inv(SOME).T), "inverse of forward: it matches the reference if W is transposed in it"),
    (affine(SOME, back=SOME.T), "it multiplies by W transposed, not by the inverse"),
    (affine(SOME, back=SOME), "it multiplies by W, not by the inverse"),
    (affine(SOME, unshift=lambda x, y, V, b: y @ V.T - b), "the shift is taken off after W, not before"),
    (affine(SOME, unshift=lambda x, y, V, b: y @ V.T), "the shift is forgotten"),
    (affine(SOME, unshift=lambda x, y, V, b: (y + b) @ V.T), "the shift is added, not taken off"),
    ((affine(SOME)[0], lambda y: (y, 0, 1)), "inverse must return a pair, (x, log_det)"),
    ((affine(SOME)[0], lambda y: (y[..., :2], np.zeros(3))), "x must have as many elements as (3, 2, 4, 3)"),
    ((affine(SOME)[0], lambda y: (y.reshape(3, 24), np.zeros(3))), "x must have shape (3, 2, 4, 3)"),
    ((affine(SOME)[0], lambda y: 1 / 0), "inverse raised ZeroDivisionError"),
])
def test_wrong_matrices_are_named(layer, words):
    told(check_flow_layer(*layer, IMAGES), words)


@pytest.mark.parametrize("change, words", [
    (lambda d: d / 2, "it is halved"), (lambda d: d / 24, "the mean over the elements"),
    (lambda d: d / 6, "forgets the positions (channels last)"), (lambda d: d / 12, "the positions (channels first)"),
    (lambda d: 0 * d + d.mean(), "the mean over the batch"), (lambda d: d + 0.5 * d**2, "no known mistake"),
])
def test_wrong_log_determinants_are_named(change, words):
    x = RNG.uniform(0.2, 1, (3, 2, 3, 4))
    total = lambda x: np.log(np.cosh(x)).sum((1, 2, 3))
    back = lambda y: (np.arcsinh(y), -total(np.arcsinh(y)))
    told(check_flow_layer(lambda x: (np.sinh(x), change(total(x))), back, x), words)


# ---------------------------------------------------------------- starts from data


def starting(ddof=0, tiny=1e-9, once=True, axes=0, apply=lambda x, m, s: (x - m) / s):
    def make():
        kept = []

        def forward(x):
            if not kept or not once:
                kept[:] = [x.mean(axes, keepdims=True), x.std(axes, ddof=ddof, keepdims=True) + tiny]
            with np.errstate(all="ignore"):
                return apply(x, *kept), np.zeros(len(x))
        return forward
    return make


@pytest.mark.parametrize("made, words", [
    (starting(ddof=1), "n - 1 (ddof 1)"), (starting(once=False), "it starts again with each batch"),
    (starting(tiny=0.0), "a constant feature: forward returned numbers that are not finite"),
    (starting(apply=lambda x, m, s: x / s), "mean: it matches the reference if the mean is not taken off"),
    (starting(apply=lambda x, m, s: (x + m) / s), "the mean is added"),
    (starting(apply=lambda x, m, s: x / s - m), "the scale comes before the shift"),
    (starting(apply=lambda x, m, s: x - m), "variance: it matches the reference if the scale is missing"),
    (starting(apply=lambda x, m, s: (x - m) / s**2), "the scale is the variance, not its root"),
    (starting(apply=lambda x, m, s: (x - m) * s), "it is multiplied by the scale, not divided"),
    (lambda: 3, "make must return a function, got int"), (lambda: 1 / 0, "make raised ZeroDivisionError"),
])
def test_starts_from_data(made, words):
    data = RNG.standard_normal((6, 3)) * [1, 2, 3] + 1
    assert check_initialisation(starting(), data).status == 0
    told(check_initialisation(made, data), words)


def test_starts_of_images():
    first, last = RNG.standard_normal((5, 3, 2, 4)) + 1, RNG.standard_normal((5, 2, 4, 3)) + 1
    for data, axes in ((first, (0, 2, 3)), (last, (0, 1, 2))):
        assert check_initialisation(starting(axes=axes), data, axes=axes).status == 0
        told(check_initialisation(starting(axes=0), data, axes=axes), "its statistics are of each position")
        told(check_initialisation(starting(axes=axes, tiny=0.0), data, axes=axes), "a constant feature: forward")
        told(check_initialisation(starting(axes=axes, ddof=1), data, axes=axes, tolerance=1e-4), "n - 1 (ddof 1)")
