"""13.9-13.17 in every mode against closed forms, finite differences of tight solutions,
SciPy's solver and each other."""
import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm, expm_frechet

from refvdm.autodiff import ravel, vjp
from refvdm.ode import MLPField, SolverError, adjoint, solve

MODES = ("backsolve", "interpolated", "discrete", "forward")
INTEGRATED = MODES[:2]
TIGHT = {"rtol": 1e-8, "atol": 1e-10}
FIXED = {"method": "dopri5", "step": 0.1}
A = np.array([[-0.4, 1.3, 0.2], [-0.9, 0.1, 0.5], [0.3, -0.6, -0.2]])
W, B = np.array([[0.6, -1.1], [0.9, 0.3]]), np.array([0.4, -0.7])
Z0 = np.array([0.5, -0.3])
# way, ts: forward, backward, with equal times at both ends and inside, away from 0
TIMES = [[0.2, 0.7, 1.1, 1.9], [1.7, 1.0, 0.4, -0.3], [0.3, 0.3, 0.9, 0.9, 1.6, 1.6]]


def close(got, expected, rtol=2e-6):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))


def bent(z, t, theta):
    """Not linear, not autonomous, in all parameters at once."""
    return np.tanh(theta["W"] @ z + theta["b"] * np.cos(2 * t)) - 0.3 * t * z


THETA = {"W": W, "b": B}


def slow_truth(z0, ts, W, b):
    """bent by SciPy's order 8."""
    ts = np.asarray(ts)
    z0, grid = np.asarray(z0), np.unique(ts) if ts[-1] >= ts[0] else np.unique(ts)[::-1]
    run = solve_ivp(lambda t, z: bent(z, t, {"W": W, "b": b}), (ts[0], ts[-1]), z0,
                    method="DOP853", rtol=1e-11, atol=1e-13, t_eval=grid)
    return np.array([run.y[:, list(grid).index(t)] for t in ts])


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("start", "end"), [(0.2, 1.5), (1.5, -0.3)])
def test_a_linear_field_by_the_matrix_exponential(mode, start, end):
    """z' = cos(t) A z: z(T1) = e^(S A) z0, S = sin T1 - sin T0; dL/dA = S expm_frechet(S A^T, v z0^T),
    and both ends of time."""
    z0, v, S = np.array([1.0, -0.5, 0.8]), np.array([0.7, 1.2, -0.4]), np.sin(end) - np.sin(start)
    solution = solve(lambda z, t, A: np.cos(t) * (A @ z), z0, [start, end], A, **TIGHT)
    got = adjoint(lambda z, t, A: np.cos(t) * (A @ z), solution, [0 * v, v], mode=mode)
    close(got.z0, expm(S * A.T) @ v)
    close(got.theta, S * expm_frechet(S * A.T, np.outer(v, z0), compute_expm=False))
    close(got.ts, [-v @ expm(S * A) @ (np.cos(start) * A @ z0), v @ (np.cos(end) * A @ expm(S * A) @ z0)])
    assert got.mode == mode


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("start", "end"), [(0.3, 2.0), (2.0, 0.3)])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_z_prime_is_theta_cos_t_z(mode, start, end, shape):
    """z(T1) = z0 e^(theta S): dL/dz0 = v e^(theta S), dL/dtheta = v z(T1) S, dL/dT1 = v f(z(T1), T1),
    dL/dT0 = -v theta cos(T0) z(T1)."""
    rng, theta, S = np.random.default_rng(0), 0.8, np.sin(end) - np.sin(start)
    z0, v = rng.standard_normal(shape) + 2, rng.standard_normal(shape)
    def f(z, t, theta):
        return theta * np.cos(t) * z
    solution = solve(f, z0, [start, end], theta, **TIGHT)
    got, zT = adjoint(f, solution, np.stack([0 * v, v]), mode=mode), z0 * np.exp(theta * S)
    close(got.z0, v * np.exp(theta * S))
    close(got.theta, np.sum(v * zT) * S)
    close(got.ts, [-np.sum(v * theta * np.cos(start) * zT), np.sum(v * theta * np.cos(end) * zT)])
    assert got.z0.shape == np.shape(z0) and np.shape(got.theta) == () and got.ts.shape == (2,)


# ---------------------------------------------------------------- losses at many times


@pytest.mark.parametrize("ts", TIMES)
def test_losses_at_many_times_against_finite_differences(ts):
    """L = sum_i g_i z(ts[i]) with g_0 != 0: dL/dz0, dL/dtheta, dL/dts[i] for i >= 1 and
    dL/dT0 = -a(T0+) f, in all modes."""
    ts, g = np.array(ts), np.random.default_rng(1).standard_normal((len(ts), 2))
    solution, h = solve(bent, Z0, ts, THETA, **TIGHT), 1e-4

    def loss(z0=Z0, ts=ts, W=W, b=B):
        return np.sum(g * slow_truth(z0, ts, W, b))

    def slope(name, x):
        d = [np.eye(x.size)[i].reshape(x.shape) * h for i in range(x.size)]
        return np.array([loss(**{name: x + e}) - loss(**{name: x - e}) for e in d]).reshape(x.shape) / (2 * h)

    z0_bar, W_bar, b_bar = slope("z0", Z0), slope("W", W), slope("b", B)
    distinct = len(np.unique(ts)) == len(ts)  # equal times cannot be moved apart against the order
    ts_bar = slope("ts", ts) if distinct else None
    for mode in MODES:
        got = adjoint(bent, solution, g, mode=mode)
        for x, expected in ((got.z0, z0_bar), (got.theta["W"], W_bar), (got.theta["b"], b_bar), (got.ts, ts_bar)):
            if expected is not None:
                close(x, expected, 1e-5 if mode == "discrete" else 2e-6)  # the slope of its interpolant is less precise
        if not distinct:  # dL/dts[i] = g_i f(z_i, ts[i])
            close(got.ts[1:], [g_i @ bent(z, t, THETA) for g_i, z, t in zip(g[1:], solution.zs[1:], ts[1:])])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ts", TIMES)
def test_dL_dT0_is_minus_a_before_the_jump_at_T0_times_f(mode, ts):
    """z(T0) = z0 does not move with T0: dL/dT0 = -(dL/dz0 - g_0) f(z0, T0), and g_0 itself only adds to dL/dz0."""
    g = np.random.default_rng(2).standard_normal((len(ts), 2))
    solution = solve(bent, Z0, ts, THETA)
    got, without = (adjoint(bent, solution, bar, mode=mode) for bar in (g, np.concatenate([0 * g[:1], g[1:]])))
    np.testing.assert_allclose(got.z0, without.z0 + g[0], rtol=1e-14)
    assert np.array_equal(got.ts, without.ts) and np.array_equal(got.theta["W"], without.theta["W"])
    close(got.ts[0], -without.z0 @ bent(Z0, ts[0], THETA), 1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_moving_all_times_is_moving_the_field(mode):
    """sum_i dL/dts[i] = 0 for an autonomous field, and without it the integral of a df/dt:
    the sum over ts is dL/ds of f(z, t + s)."""
    ts, g = [0.2, 0.6, 1.4], np.random.default_rng(3).standard_normal((3, 2))
    def shifted(z, t, s):
        return bent(z, t + s, THETA)
    solution = solve(shifted, Z0, ts, 0.0, **TIGHT)
    got = adjoint(shifted, solution, g, mode=mode)
    close(got.ts.sum(), got.theta)
    def still(z, t, theta):
        return bent(z, 0.4, THETA)
    assert abs(adjoint(still, solve(still, Z0, ts, **TIGHT), g, mode=mode).ts.sum()) < 1e-6


# ---------------------------------------------------------------- the trajectory


@pytest.mark.parametrize("mode", INTEGRATED)
@pytest.mark.parametrize("ts", TIMES[:2])
def test_a_times_a_tangent_is_constant_between_outputs(mode, ts):
    """d/dt (a v) = 0 for v' = df/dz v, with v from SciPy, and z on its way back is z on its way forward."""
    g = np.random.default_rng(4).standard_normal((len(ts), 2))
    got = adjoint(bent, solve(bent, Z0, ts, THETA, **TIGHT), g, mode=mode).trajectory

    def both(t, y):
        z, v = y[:2], y[2:]
        slope = 1 - np.tanh(W @ z + B * np.cos(2 * t)) ** 2
        return np.concatenate([bent(z, t, THETA), slope * (W @ v) - 0.3 * t * v])

    run = solve_ivp(both, (ts[0], ts[-1]), [*Z0, 0.8, -1.1], method="DOP853", rtol=1e-13, atol=1e-14, dense_output=True)
    at = run.sol(got.t)
    np.testing.assert_allclose(got.z, at[:2].T, atol=1e-7)
    product, jumps = np.sum(got.a * at[2:].T, axis=1), np.flatnonzero(np.diff(got.t) == 0) + 1
    assert len(jumps) == len(ts) - 2
    pieces = np.split(product, jumps)
    assert all(len(piece) > 5 and np.ptp(piece) < 1e-6 for piece in pieces)
    for i, (before, after) in enumerate(itertools.pairwise(pieces)):  # at ts[-2], ts[-3], ...
        assert abs(after[0] - before[-1] - g[-2 - i] @ run.sol(ts[-2 - i])[2:]) < 1e-6


@pytest.mark.parametrize("mode", INTEGRATED)
@pytest.mark.parametrize("ts", TIMES[:2])
@pytest.mark.parametrize("step", [None, 0.1])
def test_jumps_of_the_trajectory(mode, ts, step):
    """First a = g_N, a_theta = 0, a_t = -g_N f; at each inner ts two rows, a + g_i and a_t - g_i f;
    the last row is the answer."""
    ts, g = np.array(ts), np.random.default_rng(5).standard_normal((len(ts), 2))
    solution = solve(bent, Z0, ts, THETA, step=step)
    adjoints = adjoint(bent, solution, g, mode=mode)
    t, z, a, a_theta, a_t = adjoints.trajectory
    assert t[0] == ts[-1] and t[-1] == ts[0] and np.all(np.diff(t) * (ts[0] - ts[-1]) >= 0)
    assert np.array_equal(a[0], g[-1]) and not a_theta[0].any() and np.array_equal(z[0], solution.zs[-1])
    np.testing.assert_allclose(a_t[0], -g[-1] @ bent(z[0], ts[-1], THETA), rtol=1e-14)
    for i in range(1, len(ts) - 1):
        before, after = np.flatnonzero(t == ts[i])
        assert after == before + 1 and np.array_equal(z[after], z[before])
        assert np.array_equal(a_theta[after], a_theta[before])
        assert np.array_equal(a[after], a[before] + g[i])
        np.testing.assert_allclose(a_t[after] - a_t[before], -g[i] @ bent(solution.zs[i], ts[i], THETA), rtol=1e-12)
    assert np.array_equal(adjoints.z0, a[-1] + g[0]) and adjoints.ts[0] == a_t[-1]
    assert np.array_equal(np.concatenate([adjoints.theta["W"].ravel(), adjoints.theta["b"]]), a_theta[-1])
    rows = len(t)
    assert [x.shape for x in adjoints.trajectory] == [(rows,), (rows, 2), (rows, 2), (rows, 6), (rows,)]
    assert rows == adjoints.stats.accepted + len(ts) - 1
    assert (adjoints.reconstruction_error is None) == (mode == "interpolated")
    if mode == "backsolve":
        assert np.array_equal(adjoints.reconstruction_error, z[-1] - Z0)
    else:
        assert np.array_equal(z, solution(t))


@pytest.mark.parametrize("mode", INTEGRATED)
@pytest.mark.parametrize("controller", ["torchdiffeq", "jax"])
def test_rows_of_a_policy_that_runs_over_the_end(mode, controller):
    """The last row of each stretch is interpolated at its end, not taken beyond it."""
    g = np.random.default_rng(5).standard_normal((3, 2))
    solution = solve(bent, Z0, [0.1, 0.8, 1.5], THETA, controller=controller)
    got = adjoint(bent, solution, g, mode=mode)
    assert np.count_nonzero(got.trajectory.t == 0.8) == 2 and got.trajectory.t.min() == 0.1 == got.trajectory.t[-1]
    reference = adjoint(bent, solution, g, mode="forward")
    close(got.z0, reference.z0, 1e-4)
    close(got.theta["W"], reference.theta["W"], 1e-4)


@pytest.mark.parametrize("shape", [(), (2, 3)])
@pytest.mark.parametrize("mode", INTEGRATED)
def test_shapes_of_the_trajectory(shape, mode):
    """z and a keep the state's shape, a_theta is flat, the error is of the state's shape."""
    z0 = np.full(shape, 0.5)
    def f(z, t, theta):
        return np.sin(t) - z * theta["k"] + theta["c"][0]
    theta = {"k": 0.3, "c": np.array([0.1, 0.2])}
    got = adjoint(f, solve(f, z0, [0, 1], theta), np.ones((2, *shape)), mode=mode)
    rows = got.stats.accepted + 1
    assert [x.shape for x in got.trajectory] == [(rows,), (rows, *shape), (rows, *shape), (rows, 3), (rows,)]
    assert mode == "interpolated" or got.reconstruction_error.shape == shape
    assert adjoint(f, solve(f, z0, [0, 1], theta), np.ones((2, *shape)), mode=mode, trajectory=False).trajectory is None


@pytest.mark.parametrize("mode", MODES[2:])
def test_other_modes_have_no_trajectory(mode):
    got = adjoint(bent, solve(bent, Z0, [0, 1], THETA), np.ones((2, 2)), mode=mode)
    assert got.trajectory is None and got.reconstruction_error is None


# ---------------------------------------------------------------- trees, dtypes, times


@pytest.mark.parametrize("mode", MODES)
def test_theta_as_a_nested_tree_with_constants(mode):
    """The gradient is a tree like theta, None for integers; the same numbers as for the flat dict."""
    tree = {"deep": [W, (2, {"b": B})], "power": 1, "none": None, "scale": 0.3}

    def f(z, t, theta):
        W, (two, inner) = theta["deep"]
        return np.tanh(W @ z + inner["b"] * np.cos(two * t)) - theta["scale"] * t ** theta["power"] * z

    g = np.random.default_rng(6).standard_normal((2, 2))
    got = adjoint(f, solve(f, Z0, [0.2, 1.1], tree, **FIXED), g, mode=mode)
    plain = adjoint(bent, solve(bent, Z0, [0.2, 1.1], THETA, **FIXED), g, mode=mode)
    assert list(got.theta) == list(tree) and got.theta["power"] is None and got.theta["none"] is None
    assert got.theta["deep"][1][0] is None
    close(got.theta["deep"][0], plain.theta["W"], 1e-11)
    close(got.theta["deep"][1][1]["b"], plain.theta["b"], 1e-11)
    close(got.z0, plain.z0, 1e-11)
    def less(z, t, s):
        return np.tanh(W @ z + B * np.cos(2 * t)) - s * t * z
    close(got.theta["scale"], adjoint(less, solve(less, Z0, [0.2, 1.1], 0.3, **FIXED), g, mode=mode).theta, 1e-11)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("theta", "expected"), [((), ()), ([3, {"n": None}], [None, {"n": None}])])
def test_nothing_in_theta_to_differentiate(mode, theta, expected):
    """The gradient by theta is theta with None in the place of its constants;
    z0's and ts' are those of the field with parameters."""
    def f(z, t, theta):
        return bent(z, t, THETA)
    g = np.random.default_rng(6).standard_normal((3, 2))
    got = adjoint(f, solve(f, Z0, [0, 0.5, 1], theta), g, mode=mode)
    want = adjoint(bent, solve(bent, Z0, [0, 0.5, 1], THETA), g, mode=mode)
    assert got.theta == expected
    np.testing.assert_allclose(got.z0, want.z0, rtol=1e-5)
    np.testing.assert_allclose(got.ts, want.ts, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_float32_end_to_end(mode):
    """Everything but the times is float32; the numbers are float64's to its precision. A float64 zs_bar is cast."""
    low = {k: v.astype(np.float32) for k, v in THETA.items()}
    g = np.random.default_rng(7).standard_normal((3, 2))
    got = adjoint(bent, solve(bent, Z0.astype(np.float32), [0, 0.5, 1.2], low, rtol=1e-5, atol=1e-6), g, mode=mode)
    want = adjoint(bent, solve(bent, Z0, [0, 0.5, 1.2], THETA), g, mode=mode)
    assert got.z0.dtype == got.theta["W"].dtype == got.theta["b"].dtype == np.float32 and got.ts.dtype == np.float64
    for x, y in ((got.z0, want.z0), (got.theta["W"], want.theta["W"]), (got.theta["b"], want.theta["b"]),
                 (got.ts, want.ts)):
        close(x, y, 1e-3)
    if got.trajectory:
        assert [x.dtype for x in got.trajectory[1:4]] == [np.float32] * 3
    if mode == "backsolve":
        assert got.reconstruction_error.dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
def test_gradients_keep_each_leaf_dtype(mode):
    """A float64 leaf that nothing uses gets a float64 gradient of 0 beside a float32 state;
    a Python float one of the state's dtype."""
    def f(z, t, theta):
        return z * np.cos(t) * theta["a"] * theta["c"]
    theta = {"a": np.array([0.5, 0.2], np.float32), "b": np.ones((2, 3)), "c": 1.0}
    got = adjoint(f, solve(f, np.ones(2, np.float32), [0, 1], theta, rtol=1e-4, atol=1e-6), [[0, 0], [1, 1]],
                  mode=mode).theta
    assert got["a"].dtype == got["c"].dtype == np.float32 and got["b"].dtype == np.float64
    assert got["b"].shape == (2, 3) and not got["b"].any()
    close(got["a"], np.sin(1) * np.exp(np.sin(1) * theta["a"]), 1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "t"), [(1, 0.7), (2, 0.7), (3, -0.2)])
def test_all_times_equal(mode, n, t):
    """z(ts[i]) = z0 + (ts[i] - ts[0]) f: dL/dz0 = sum_i g_i, dL/dtheta = 0, dL/dts[i] = g_i f,
    dL/dts[0] = minus their sum."""
    g, slope = np.random.default_rng(8).standard_normal((n, 2)), bent(Z0, t, THETA)
    got = adjoint(bent, solve(bent, Z0, [t] * n, THETA), g, mode=mode)
    np.testing.assert_allclose(got.z0, g.sum(axis=0), rtol=1e-14)
    assert not got.theta["W"].any() and not got.theta["b"].any()
    np.testing.assert_allclose(got.ts, [-g[1:].sum(axis=0) @ slope, *(g[1:] @ slope)], rtol=1e-14, atol=1e-15)
    assert got.stats.accepted == got.stats.rejected == got.stats.nvjp == 0
    if got.trajectory:
        rows = max(n - 1, 1)
        assert [x.shape for x in got.trajectory] == [(rows,), (rows, 2), (rows, 2), (rows, 6), (rows,)]
        assert set(got.trajectory.t) == {t}
        assert np.array_equal(got.trajectory.z, np.tile(Z0, (rows, 1)))


# ---------------------------------------------------------------- the options of the way back


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{"controller": c} | TIGHT for c in ("scipy", "torchdiffeq", "jax", "diffrax")] + [
    {"method": "bosh3", "rtol": 1e-7}, {"method": "bosh3", "controller": "jax", "rtol": 1e-7},
    {"method": "euler", "step": 4e-3}, {"method": "rk4", "step": 0.02}, {"method": "bosh3", "step": 0.01},
    {"method": "dopri5", "step": 0.04}])
def test_every_method_and_policy(mode, options):
    """All agree with the closed form, as precisely as the method is: Euler's error is O(h)."""
    def f(z, t, theta):
        return theta * np.cos(t) * z
    g, ts = np.array([[0.3], [1.1], [-0.6]]), [1.3, 0.8, 0.1]
    got = adjoint(f, solve(f, [2.0], ts, 0.9, **options), g, mode=mode)
    S, tolerance = np.sin(ts) - np.sin(ts[0]), 0.02 if options.get("method") == "euler" else 4e-6
    z, g = 2 * np.exp(0.9 * S), g[:, 0]
    close(got.z0, [g @ np.exp(0.9 * S)], tolerance)
    close(got.theta, g @ (S * z), tolerance)
    close(got.ts, [-(g * z)[1:].sum() * 0.9 * np.cos(ts[0]), *(g * z * 0.9 * np.cos(ts))[1:]], 10 * tolerance)


def test_the_way_back_may_have_options_of_its_own():
    """rtol, atol, method, step, controller and max_steps each replace the solution's, and only on the way back."""
    solution, g = solve(bent, Z0, [0.2, 1.1, 1.9], THETA, rtol=1e-3), np.random.default_rng(9).standard_normal((3, 2))
    for mode in ("backsolve", "interpolated", "forward"):
        plain = adjoint(bent, solution, g, mode=mode).stats
        assert adjoint(bent, solution, g, mode=mode, rtol=1e-8, atol=1e-11).stats.accepted > 2 * plain.accepted
        assert adjoint(bent, solution, g, mode=mode, atol=1.0).stats.accepted < plain.accepted
        assert adjoint(bent, solution, g, mode=mode, method="bosh3").stats.accepted > plain.accepted
        assert adjoint(bent, solution, g, mode=mode, method="rk4", step=0.1).stats.accepted == 17
        assert adjoint(bent, solution, g, mode=mode, controller="diffrax").stats != plain
        with pytest.raises(SolverError, match="max_steps = 2"):
            adjoint(bent, solution, g, mode=mode, max_steps=2)
    assert adjoint(bent, solution, g).mode == "backsolve"
    assert solution.options.rtol == 1e-3 and solution.options.method == "dopri5"


@pytest.mark.parametrize("mode", INTEGRATED)
@pytest.mark.parametrize("controller", ["scipy", "torchdiffeq"])
def test_seminorm_gives_the_same_gradient_in_fewer_steps(mode, controller):
    """a_theta and a_t feed back into nothing: without them in the norm the gradient stays, up to the tolerance."""
    field = MLPField((2, 20, 2), time=True)
    theta, g = field.init(np.random.default_rng(0)), np.array([[0.0, 0], [1, 0.5], [50, 20]])
    solution = solve(field, Z0, [0, 1.5, 3], theta, controller=controller)
    full, semi = (adjoint(field, solution, g, mode=mode, seminorm=seminorm) for seminorm in (False, True))
    assert semi.stats.nvjp < full.stats.nvjp
    for x, y in ((full.z0, semi.z0), (full.theta["W1"], semi.theta["W1"]), (full.theta["b2"], semi.theta["b2"]),
                 (full.ts, semi.ts)):
        close(x, y, 1e-4)


def test_restart_takes_z_from_the_solution_at_every_output():
    """Then the reconstruction error is that of the last stretch alone: with z' = -k (z - cos t)
    about e^(k (ts[1] - ts[0])) roundings."""
    def f(z, t, k):
        return -k * (z - np.cos(t))
    solution = solve(f, [2.0], [0, 0.5, 1, 1.5, 2], 5.0)
    plain, again = (adjoint(f, solution, np.ones((5, 1)), restart=restart) for restart in (False, True))
    rows = np.flatnonzero(np.diff(again.trajectory.t) == 0)
    assert np.array_equal(again.trajectory.z[rows + 1], solution.zs[3:0:-1])
    assert not np.array_equal(plain.trajectory.z[rows + 1][1:], solution.zs[2:0:-1])
    assert abs(again.reconstruction_error[0]) < abs(plain.reconstruction_error[0]) / 10
    assert again.reconstruction_error == again.trajectory.z[-1] - 2 and len(rows) == 3
    close(again.z0, adjoint(f, solution, np.ones((5, 1)), mode="forward").z0, 1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_stats_count_what_was_done(mode):
    """nvjp: pullbacks made; nfev: calls of f beside those; forward_stats: the solution's."""
    class Counted:
        values, pulls = 0, 0

        def __call__(self, z, t, theta):
            self.values += 1
            return bent(z, t, theta)

        def vjp(self, z, t, theta, a):
            self.pulls += 1
            value, pullback = vjp(bent, z, t, theta)
            z_bar, t_bar, theta_bar = pullback(a)
            return value, z_bar, ravel(theta_bar)[0], t_bar

    g, f = np.random.default_rng(1).standard_normal((3, 2)), Counted()
    solution = solve(f, Z0, [0, 0.6, 1.3], THETA, rtol=1e-5)
    assert f.values == solution.stats.nfev
    f.values = 0
    got, plain = adjoint(f, solution, g, mode=mode), adjoint(bent, solution, g, mode=mode)
    assert got.stats == plain.stats and got.forward_stats == solution.stats
    np.testing.assert_allclose(got.z0, plain.z0, rtol=1e-12)
    assert got.stats.nvjp == f.pulls
    values = {"backsolve": 2, "interpolated": 2, "discrete": 0}
    assert got.stats.nfev == values.get(mode, 3 + 1)
    assert f.values == (got.stats.nfev if mode != "forward" else got.stats.nfev + f.pulls // 2)
    attempts = got.stats.accepted + got.stats.rejected
    if mode == "discrete":
        assert attempts == solution.stats.accepted and 6 * attempts <= got.stats.nvjp <= 7 * attempts
    elif mode == "forward":
        assert got.stats.nvjp == 2 * (6 * attempts + 2)  # two unit vectors; a start and a probe
    else:
        assert got.stats.nvjp == 6 * attempts + 2 * 2 and got.stats.accepted == len(got.trajectory.t) - 2
