"""The layers beside the PLU that make a Glow step: ActNorm, affine coupling, squeeze, split;
and the table of conventions."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm.autodiff import check_vjp, jacobian, tree_leaves, tree_map, vjp
from refvdm.flows import (
    PLU,
    ActNorm,
    AffineCoupling,
    Flow,
    Split,
    Squeeze,
)


def away_from_start(theta, rng):
    """theta with noise on every float array: no layer is the identity any more."""
    return tree_map(lambda v: v + (0.5 * rng.standard_normal(v.shape)).astype(v.dtype) if v.dtype.kind == "f" else v,
                    theta)


def log_det_of_the_jacobian(f, x):
    """slogdet of dy/dx of one example of any shape, by autodiff and by central differences."""
    def flat(v):
        return np.reshape(f(np.reshape(v, (1, *x.shape))), (x.size,))
    v, h = x.ravel(), 1e-5
    numerical = np.stack([(flat(v + h * e) - flat(v - h * e)) / (2 * h) for e in np.eye(v.size)], axis=1)
    np.testing.assert_allclose(jacobian(flat)(v), numerical, rtol=1e-6, atol=1e-7)
    return np.linalg.slogdet(numerical)[1], jacobian(flat)(v)


LAYERS = {  # name: layer, shape of one example
    "actnorm": (ActNorm(3), (3,)), "actnorm at positions": (ActNorm(2), (2, 2, 2)),
    "actnorm d = 1": (ActNorm(1), (4, 1)),
    "coupling": (AffineCoupling(4, hidden=5), (4,)), "coupling odd": (AffineCoupling(5, hidden=4), (5,)),
    "coupling odd swapped": (AffineCoupling(5, hidden=4, swap=True), (5,)),
    "coupling d = 2": (AffineCoupling(2, 3, True, 0.7), (3, 2)),
    "coupling at positions": (AffineCoupling(3, hidden=4), (2, 2, 3)), "squeeze": (Squeeze(), (4, 2, 2)),
    "squeeze by 3": (Squeeze(3), (3, 6, 1)),
    "split": (Split(Flow([PLU(2), ActNorm(2)]), (2, 5)), (2, 5)), "split of a vector": (Split(ActNorm(2), (4,)), (4,)),
    "split of an image": (Split(Flow([Squeeze(), PLU(4)]), (2, 2, 2)), (2, 2, 2))}


@pytest.fixture(params=LAYERS)
def case(request):
    layer, shape = LAYERS[request.param]
    rng = np.random.default_rng(7)
    return layer, away_from_start(layer.init(rng), rng), rng.standard_normal((3, *shape))


# ---------------------------------------------------------------- what every layer holds


def test_log_det_is_slogdet_of_the_jacobian(case):
    """For each example of the batch, of the whole map, at parameters that are not the start."""
    layer, theta, x = case
    _, log_det = layer.forward(theta, x)
    assert log_det.shape == (3,)
    for i in range(3):
        expected, _ = log_det_of_the_jacobian(lambda v: layer.forward(theta, v)[0], x[i])
        np.testing.assert_allclose(log_det[i], expected, atol=1e-7)


def test_inverse_and_its_log_det(case):
    """inverse(forward(x)) = x, forward(inverse(y)) = y, the inverse's log_det is that of the inverse map:
    minus the forward one."""
    layer, theta, x = case
    y, log_det = layer.forward(theta, x)
    assert y.shape == (3, *layer.output_shape(x.shape[1:]))
    back, minus = layer.inverse(theta, y)
    assert back.shape == x.shape and minus.shape == (3,)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(minus, -log_det, atol=1e-13)
    there, plus = layer.forward(theta, layer.inverse(theta, y + 0.3)[0])
    np.testing.assert_allclose(there, y + 0.3, atol=1e-12)
    np.testing.assert_allclose(plus, -layer.inverse(theta, y + 0.3)[1], atol=1e-13)


def test_gradients(case):
    layer, theta, x = case
    for f, v in ((layer.forward, x[:2]), (layer.inverse, layer.forward(theta, x[:2])[0])):
        if theta:
            check_vjp(f, theta, v, most=24)
        else:
            check_vjp(lambda v, f=f: f(theta, v), v, most=24)


def test_float32_from_end_to_end(case):
    """Outputs, log_det and gradients are float32, and agree with float64."""
    layer, theta, x = case
    low = tree_map(lambda v: v.astype(np.float32) if v.dtype.kind == "f" else v, theta)
    init = layer.init(np.random.default_rng(0), dtype=np.float32)
    assert {v.dtype for _, v in tree_leaves(init) if v.dtype.kind == "f"} <= {np.dtype(np.float32)}
    for method, v in (("forward", x), ("inverse", layer.forward(theta, x)[0])):
        call = getattr(layer, method)
        v_low = v.astype(np.float32)
        value, pullback = vjp(call, low, v_low) if theta else vjp(lambda v, call=call: call(low, v), v_low)
        for a, b in zip(value, call(theta, v)):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=1e-4)
        bars = pullback(tree_map(np.ones_like, value))
        assert all(g.dtype == np.float32 for _, g in tree_leaves(bars) if g is not None)


def test_empty_batch(case):
    """No examples: empty outputs of the right shapes."""
    layer, theta, x = case
    y, log_det = layer.forward(theta, x[:0])
    assert y.shape == (0, *layer.output_shape(x.shape[1:])) and log_det.shape == (0,)
    back, log_det = layer.inverse(theta, y)
    assert back.shape == (0, *x.shape[1:]) and log_det.shape == (0,)


def test_examples_do_not_see_each_other(case):
    """Batched is the same as one by one."""
    layer, theta, x = case
    y, log_det = layer.forward(theta, x)
    for i in range(3):
        np.testing.assert_allclose(layer.forward(theta, x[i : i + 1])[0], y[i : i + 1], rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(layer.forward(theta, x[i : i + 1])[1], log_det[i : i + 1], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("layer", [PLU(3), ActNorm(3), AffineCoupling(3)])
def test_wrong_input(layer):
    theta = layer.init(np.random.default_rng(0))
    for call in (layer.forward, layer.inverse):
        for shape in [(2, 4), (3,), (3, 1)]:
            with pytest.raises(ValueError,
                               match=rf"{type(layer).__name__}: [xy] must have shape \(batch, ..., 3\), got \("):
                call(theta, np.ones(shape))
        with pytest.raises(ValueError,
                           match=rf"{type(layer).__name__}: [xy] must be finite, got nan at index \(0, 1\)"):
            call(theta, np.array([[1.0, np.nan, 0.0]]))
        with pytest.raises(TypeError, match=f"{type(layer).__name__}: [xy] must be an array of floats, got dtype int"):
            call(theta, np.ones((2, 3), int))


@pytest.mark.parametrize("d", [0, -1, True, False, 2.0, "3", None])
def test_size_must_be_a_positive_integer(d):
    for make, name, least in ((PLU, "PLU: d", 1), (ActNorm, "ActNorm: d", 1), (AffineCoupling, "AffineCoupling: d", 2),
                              (Squeeze, "Squeeze: factor", 1)):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least {least}, got {d!r}"):
            make(d)
    assert type(PLU(np.int64(3)).d) is int and ActNorm(np.int32(1)).d == 1


@pytest.mark.parametrize("layer", [PLU(3), ActNorm(3), AffineCoupling(3, hidden=2)])
def test_a_layer_may_stand_alone_in_split(layer):
    """Every layer has output_shape, so that Split takes a bare one."""
    rng = np.random.default_rng(0)
    assert layer.output_shape((2, 3)) == (2, 3)
    split, x = Split(layer, (2, 6)), rng.standard_normal((4, 2, 6))
    theta = away_from_start(split.init(rng), rng)
    np.testing.assert_allclose(split.inverse(theta, split.forward(theta, x)[0])[0], x, atol=1e-12)


# ---------------------------------------------------------------- ActNorm


@given(st.integers(1, 4), st.sampled_from([(7,), (3, 2), (2, 3, 2)]), st.floats(-2, 2), st.integers(0, 99))
def test_actnorm_starts_with_mean_0_and_variance_1(d, lead, magnitude, seed):
    """Of every feature of y over batch and positions, with ddof = 0; without data it is the identity."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((*lead, d)) + rng.standard_normal(d)) * 10**magnitude * rng.uniform(0.1, 10, d)
    layer = ActNorm(d)
    y, log_det = layer.forward(layer.init(rng, x), x)
    rows = y.reshape(-1, d)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(rows**2, axis=0), 1, rtol=1e-12)
    expected = -math.prod(lead[1:]) * np.log(x.reshape(-1, d).std(axis=0)).sum()
    np.testing.assert_allclose(log_det, expected * np.ones(lead[0]), atol=1e-11)
    y, log_det = layer.forward(layer.init(rng), x)
    assert np.array_equal(y, x) and not log_det.any()


def test_actnorm_on_nearly_constant_features():
    """A deviation of 1e-6 on an offset of 1e6 is data; what the rounding of a mean makes of a constant is not."""
    rng, layer = np.random.default_rng(0), ActNorm(3)
    x = np.array([1e6, -1e6, 0.0]) + 1e-6 * rng.standard_normal((200, 3))
    y = layer.forward(layer.init(rng, x), x)[0]
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-3)
    x[:, 1] = 0.1
    with pytest.raises(ValueError,
                       match=r"ActNorm.init: features \[1\] are constant in the data: no scale gives them variance 1"):
        layer.init(rng, x)
    x[:, 2] = 0.0
    with pytest.raises(ValueError, match=r"features \[1, 2\] are constant"):
        layer.init(rng, x.reshape(50, 2, 2, 3))
    with pytest.raises(ValueError, match=r"features \[0, 1, 2\] are constant"):
        layer.init(rng, rng.standard_normal((1, 3)))
    low = np.full((300, 3), 0.1, np.float32)
    low += 1e-4 * rng.standard_normal(low.shape).astype(np.float32)
    np.testing.assert_allclose(layer.forward(layer.init(rng, low, np.float32), low)[0].std(axis=0), 1, rtol=1e-2)


@pytest.mark.parametrize(("n", "dtype"),
                         [(10_000, np.float64), (100_000, np.float64), (300, np.float32), (10_000, np.float32)])
def test_actnorm_finds_a_constant_feature_in_much_data(n, dtype):
    """Also when the mean of n equal numbers is rounded n times."""
    for value in (0.1, 1 / 3, -7.7):
        with pytest.raises(ValueError, match=r"features \[0, 1\] are constant"):
            ActNorm(2).init(None, np.full((n, 2), value, dtype))


def test_actnorm_refuses_bad_data():
    for data, error, message in [(np.ones((4, 2)), ValueError, "ActNorm.init: data must have shape"),
                                 ([[1.0, 2.0, 3.0]], TypeError, "array of floats"),
                                 (np.full((4, 3), np.nan), ValueError, "ActNorm.init: data must be finite, got nan")]:
        with pytest.raises(error, match=message):
            ActNorm(3).init(None, data)


# ---------------------------------------------------------------- affine coupling


@pytest.mark.parametrize(("d", "swap", "still"),
                         [(4, False, [0, 1]), (4, True, [2, 3]), (5, False, [0, 1]), (5, True, [2, 3, 4])])
def test_coupling_is_triangular(d, swap, still):
    """One half passes unchanged; of the other only the diagonal and what comes from the still half is not 0:
    exp(s) on the diagonal."""
    rng, layer = np.random.default_rng(0), AffineCoupling(d, hidden=6, swap=swap)
    theta, x = away_from_start(layer.init(rng), rng), rng.standard_normal(d)
    moving = [i for i in range(d) if i not in still]
    _, J = log_det_of_the_jacobian(lambda v: layer.forward(theta, v)[0], x)
    assert np.array_equal(J[still], np.eye(d)[still])
    block = J[np.ix_(moving, moving)]
    assert np.array_equal(block, np.diag(np.diag(block)))
    assert np.all(np.diag(block) > 0) and np.all(np.abs(np.diag(block) - 1) > 1e-3)
    assert np.all(np.abs(J[np.ix_(moving, still)]) > 1e-6)
    np.testing.assert_allclose(layer.forward(theta, x[None])[1], np.log(np.diag(block)).sum(), rtol=1e-12)


@pytest.mark.parametrize("swap", [False, True])
def test_coupling_by_its_formula(swap):
    """y = [x_1, x_2 exp(s) + t] with s = bound tanh(r/bound) and [r, t] = net(x_1),
    net two tanh layers at every position."""
    rng, layer = np.random.default_rng(1), AffineCoupling(5, hidden=4, swap=swap, bound=0.5)
    theta, x = away_from_start(layer.init(rng), rng), rng.standard_normal((2, 3, 5))
    first, second = x[..., :2], x[..., 2:]
    still, moving = (second, first) if swap else (first, second)
    assert [theta[f"W{i}"].shape for i in (1, 2, 3)] == [(still.shape[-1], 4), (4, 4), (4, 2 * moving.shape[-1])]
    out = np.tanh(np.tanh(still @ theta["W1"] + theta["b1"]) @ theta["W2"] + theta["b2"]) @ theta["W3"] + theta["b3"]
    r, t = np.split(out, 2, axis=-1)
    s = 0.5 * np.tanh(r / 0.5)
    moved = moving * np.exp(s) + t
    y, log_det = layer.forward(theta, x)
    np.testing.assert_allclose(y, np.concatenate([moved, still] if swap else [still, moved], axis=-1), rtol=1e-13)
    np.testing.assert_allclose(log_det, s.sum(axis=(1, 2)), rtol=1e-12)


def test_coupling_scale_is_bounded():
    """exp(s) stays within [exp(-bound), exp(bound)], and nears both, however large the parameters;
    bound is 2 unless told."""
    rng = np.random.default_rng(2)
    for bound, layer in ((2.0, AffineCoupling(2, hidden=8)), (0.1, AffineCoupling(2, hidden=8, bound=0.1))):
        theta = tree_map(lambda v: 1e3 * rng.standard_normal(v.shape), layer.init(rng))
        s = layer.forward(theta, 10 * rng.standard_normal((500, 2)))[1]
        assert s.min() >= -bound and s.max() <= bound and np.ptp(s) > 1.99 * bound
        assert layer.bound == bound


def test_coupling_starts_as_the_identity():
    """y = x and log_det = 0, but the layers before the last are random: the first step moves it."""
    for dtype in (np.float64, np.float32):
        layer, x = AffineCoupling(5), np.random.default_rng(0).standard_normal((4, 2, 5)).astype(dtype)
        theta = layer.init(np.random.default_rng(1), x, dtype)
        y, log_det = layer.forward(theta, x)
        assert np.array_equal(y, x) and not log_det.any() and y.dtype == dtype
        assert theta["W1"].shape == (2, 64) and theta["W2"].shape == (64, 64)
        assert theta["W1"].any() and theta["W2"].any()


def test_coupling_refuses():
    with pytest.raises(ValueError, match="AffineCoupling: d must be an integer of at least 2, got 1"):
        AffineCoupling(1)
    for bound in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="AffineCoupling: bound must be positive and finite, got "):
            AffineCoupling(4, bound=bound)


# ---------------------------------------------------------------- squeeze and split


def test_squeeze_by_hand():
    """A 4 x 4 x 2 image whose pixel (y, x, c) is 100 c + 10 y + x: block (0, 0) holds c = 0 first,
    each in the order (fy, fx)."""
    y, x, c = np.meshgrid(np.arange(4), np.arange(4), np.arange(2), indexing="ij")
    image = (100.0 * c + 10 * y + x)[None]
    squeezed, log_det = Squeeze().forward({}, image)
    assert squeezed.shape == (1, 2, 2, 8) and np.array_equal(log_det, [0.0])
    assert squeezed[0, 0, 0].tolist() == [0, 1, 10, 11, 100, 101, 110, 111]
    assert squeezed[0, 0, 1].tolist() == [2, 3, 12, 13, 102, 103, 112, 113]
    assert squeezed[0, 1, 0].tolist() == [20, 21, 30, 31, 120, 121, 130, 131]
    back, log_det = Squeeze().inverse({}, squeezed)
    assert np.array_equal(back, image) and np.array_equal(log_det, [0.0])


def test_squeeze_factors_and_errors():
    """Factor 3 on 3 x 6 x 2, factor 1 the identity; sizes that do not divide, and what is no image, are named."""
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 2))
    y, _ = Squeeze(3).forward({}, x)
    assert y.shape == (2, 1, 2, 18) and Squeeze(3).output_shape((3, 6, 2)) == (1, 2, 18)
    for c, fy, fx, block in np.ndindex(2, 3, 3, 2):
        assert np.array_equal(y[:, 0, block, 9 * c + 3 * fy + fx], x[:, fy, 3 * block + fx, c])
    assert np.array_equal(Squeeze(3).inverse({}, y)[0], x) and np.array_equal(Squeeze(1).forward({}, x)[0], x)
    for shape in [(3, 4, 1), (4, 3, 1), (4, 4), (2, 4, 4, 1), ()]:
        with pytest.raises(ValueError,
                           match=r"Squeeze: the shape of an example x must be \(h, w, c\) .* multiples of 2, got \("):
            Squeeze().output_shape(shape)
        with pytest.raises(ValueError, match="Squeeze: the shape of an example x"):
            Squeeze().forward({}, np.ones((2, *shape)))
    with pytest.raises(ValueError,
                       match=r"Squeeze: y must have shape \(batch, h, w, c\) .* multiple of 4, got \(1, 2, 2, 6\)"):
        Squeeze().inverse({}, np.ones((1, 2, 2, 6)))


def test_split_by_its_formula():
    """z = [flow(x_1), x_2] flattened, x_1 the first d//2 of the last axis; log_det that of flow;
    the start sees x_1 alone."""
    rng, x = np.random.default_rng(0), 3 + 2 * np.random.default_rng(1).standard_normal((4, 2, 5))
    inner = Flow([ActNorm(2), PLU(2)])
    split = Split(inner, (2, 5))
    theta = split.init(np.random.default_rng(2), x)
    expected = inner.init(np.random.default_rng(2), x[..., :2])
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(tree_leaves(theta), tree_leaves(expected)))
    low = split.init(rng, dtype=np.float32)
    assert low[0]["shift"].dtype == np.float32 and not low[0]["shift"].any()
    z, log_det = split.forward(theta, x)
    z_1, expected = inner.forward(theta, x[..., :2])
    assert z.shape == (4, 10) == (4, *split.output_shape((2, 5)))
    assert np.array_equal(z[:, :4], z_1.reshape(4, 4)) and np.array_equal(z[:, 4:], x[..., 2:].reshape(4, 6))
    assert np.array_equal(log_det, expected) and log_det.all()


def test_split_refuses():
    with pytest.raises(ValueError, match="Split: d must be an integer of at least 2, got 1"):
        Split(Flow([PLU(1)]), (4, 1))
    split = Split(Flow([PLU(2)]), (3, 4))
    theta = split.init(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"Split: made for examples x of shape \(3, 4\), got \(2, 4\)"):
        split.forward(theta, np.ones((1, 2, 4)))
    with pytest.raises(ValueError, match=r"Split: x must have shape \(batch, ..., 4\)"):
        split.forward(theta, np.ones((1, 3, 5)))
    with pytest.raises(ValueError, match=r"Split: y must have shape \(batch, 12\)"):
        split.inverse(theta, np.ones((1, 11)))


# ---------------------------------------------------------------- the table of conventions, row by row


RNG = np.random.default_rng(11)
W, X = RNG.standard_normal((3, 3)), RNG.standard_normal((5, 2, 2, 3))
THETA = PLU.from_matrix(W)


def test_convention_W_not_its_transpose():
    """y = x W^T, torch's (out, in); Glow's TensorFlow kernel gives x W with the same log_det."""
    y, log_det = PLU(3).forward(THETA, X)
    other, same = PLU(3).forward(PLU.from_matrix(W.T.copy()), X)
    np.testing.assert_allclose(y, np.einsum("oi,...i->...o", W, X), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(other, X @ W, rtol=1e-11, atol=1e-12)
    assert np.abs(y - other).max() > 0.5
    np.testing.assert_allclose(log_det, same, rtol=1e-12)


def test_convention_log_det_of_the_inverse_is_its_own():
    """inverse returns log|det dx/dy|, not the forward one again."""
    _, log_det = PLU(3).inverse(THETA, X)
    np.testing.assert_allclose(log_det, -4 * np.linalg.slogdet(W)[1], rtol=1e-12)
    assert abs(np.linalg.slogdet(W)[1]) > 0.1


def test_convention_log_det_counts_positions():
    """h w times that of one position; on vectors the two cannot be told apart."""
    np.testing.assert_allclose(PLU(3).forward(THETA, X)[1], 4 * PLU(3).forward(THETA, X[:, 0, 0])[1], rtol=1e-14)
    actnorm = {"shift": np.ones(3), "log_scale": np.array([0.1, 0.2, -0.7])}
    np.testing.assert_allclose(ActNorm(3).forward(actnorm, X)[1], 4 * -0.4, rtol=1e-14)


def test_convention_actnorm_shifts_first():
    """(x + shift) exp(log_scale); scale first would shift by something else.
    By hand: (1 + 2) 3 = 9, not 1 * 3 + 2 = 5."""
    theta = {"shift": np.array([2.0]), "log_scale": np.array([math.log(3)])}
    np.testing.assert_allclose(ActNorm(1).forward(theta, np.array([[1.0]]))[0], 9, rtol=1e-15)
    np.testing.assert_allclose(ActNorm(1).inverse(theta, np.array([[9.0]]))[0], 1, rtol=1e-15)


def test_convention_actnorm_divides_by_n():
    """ddof = 0: [-1, 1] stays as it is; torch's std, ddof = 1, would give -+1/sqrt(2)."""
    x = np.array([[-1.0], [1.0]])
    theta = ActNorm(1).init(None, x)
    assert np.array_equal(ActNorm(1).forward(theta, x)[0], x) and x.std(ddof=1) == math.sqrt(2)


def test_convention_coupling_halves_scale_then_shift_tanh():
    """[:d//2] stays, not every second one; x e^s + t, not (x + t) e^s; s = bound tanh, not log sigmoid(r + 2)."""
    layer = AffineCoupling(4, hidden=1)
    zero = tree_map(np.zeros_like, layer.init(np.random.default_rng(0)))
    r, t = 0.8, 3.0
    y, log_det = layer.forward(zero | {"b3": np.array([r, r, t, t])}, np.array([[1.0, 2.0, 3.0, 4.0]]))
    s = 2 * math.tanh(r / 2)
    np.testing.assert_allclose(y, [[1, 2, 3 * math.exp(s) + t, 4 * math.exp(s) + t]], rtol=1e-14)
    np.testing.assert_allclose(log_det, [2 * s], rtol=1e-14)
    assert abs((3 + t) * math.exp(s) - y[0, 2]) > 1 and abs(s + math.log1p(math.exp(-r - 2))) > 0.1


def test_convention_squeeze_keeps_channels_together():
    """(c, fy, fx) as torch's pixel_unshuffle; TensorFlow's space_to_depth has (fy, fx, c)."""
    x = X[:1]
    here = Squeeze().forward({}, x)[0]
    other = np.concatenate([x[:, 0, 0], x[:, 0, 1], x[:, 1, 0], x[:, 1, 1]], axis=-1)[:, None, None]
    assert np.array_equal(here[0, 0, 0], x[0].transpose(2, 0, 1).ravel())
    assert not np.array_equal(here, other) and np.array_equal(np.sort(here), np.sort(other))
