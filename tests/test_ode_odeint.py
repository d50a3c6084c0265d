"""odeint inside grad and vjp is `adjoint`, in every mode; what goes wrong on the way back is said."""
import re
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from refvdm.autodiff import check_vjp, grad, stop_gradient, value_and_grad, vjp
from refvdm.ode import ReconstructionWarning, SolverError, adjoint, odeint, solve

MODES = ("backsolve", "interpolated", "discrete", "forward")
Z0, TS = np.array([0.5, -0.3]), np.array([0.2, 0.53, 1.17])
THETA = {"W": np.array([[0.6, -1.1], [0.9, 0.3]]), "b": np.array([0.4, -0.7])}
# smooth in everything, and precise enough for every mode to be the derivative of it
SMOOTH = {"method": "dopri5", "step": 0.13}


def bent(z, t, theta):
    return np.tanh(theta["W"] @ z + theta["b"] * np.cos(2 * t)) - 0.3 * t * z


def same(got, expected):
    assert np.array_equal(got, expected) and got.dtype == np.asarray(expected).dtype


# ---------------------------------------------------------------- odeint


@pytest.mark.parametrize("mode", MODES)
def test_check_vjp_in_z0_ts_and_theta(mode):
    """Against finite differences of the solver itself, forward and backward in time."""
    for ts in (TS, TS[::-1].copy()):
        check_vjp(lambda z0, ts, theta: odeint(bent, z0, ts, theta, gradient=mode, **SMOOTH), Z0, ts, THETA, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [
    {"rtol": 1e-5}, {"method": "bosh3", "controller": "jax", "rtol": 1e-3}, {"method": "rk4", "step": 0.2}])
def test_is_adjoint(mode, options):
    """Value and pullback have the bits of solve and adjoint; a second pullback too;
    outside a gradient it is solve's zs."""
    g, solution = np.random.default_rng(0).standard_normal((3, 2)), solve(bent, Z0, TS, THETA, **options)
    zs, pullback = vjp(lambda z0, ts, theta: odeint(bent, z0, ts, theta, gradient=mode, **options), Z0, TS, THETA)
    same(zs, solution.zs)
    same(odeint(bent, Z0, TS, THETA, gradient=mode, **options), solution.zs)
    expected = adjoint(bent, solution, g, mode=mode)
    for _ in range(2):
        z0_bar, ts_bar, theta_bar = pullback(g)
        same(z0_bar, expected.z0)
        same(ts_bar, expected.ts)
        assert list(theta_bar) == ["W", "b"]
        same(theta_bar["W"], expected.theta["W"])
        same(theta_bar["b"], expected.theta["b"])


def test_discrete_is_the_default():
    g = np.ones((3, 2))
    z0_bar, = vjp(lambda z0: odeint(bent, z0, TS, THETA), Z0)[1](g)
    same(z0_bar, adjoint(bent, solve(bent, Z0, TS, THETA), g, mode="discrete").z0)
    assert not np.array_equal(z0_bar, adjoint(bent, solve(bent, Z0, TS, THETA), g, mode="backsolve").z0)


@pytest.mark.parametrize("mode", MODES)
def test_any_of_the_inputs_may_be_constant(mode):
    """Only what is differentiated is a Tensor; each gives the bits that it gives beside the others."""
    primals, g = (Z0, TS, THETA), np.random.default_rng(1).standard_normal((3, 2))
    full = adjoint(bent, solve(bent, *primals, rtol=1e-3), g, mode=mode)
    expected = (full.z0, full.ts, full.theta)
    for chosen in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
        def f(*given, chosen=chosen):
            inputs = list(primals)
            for i, x in zip(chosen, given):
                inputs[i] = x
            return odeint(bent, *inputs, gradient=mode, rtol=1e-3)
        bars = vjp(f, *(primals[i] for i in chosen))[1](g)
        for i, bar in zip(chosen, bars):
            if i < 2:
                same(bar, expected[i])
            else:
                same(bar["W"], expected[i]["W"])
                same(bar["b"], expected[i]["b"])


@pytest.mark.parametrize("mode", MODES)
def test_used_in_a_loss_twice_and_with_others(mode):
    """value_and_grad of a loss with two solutions, the second starting from the end of the first,
    is that of one long solution."""
    def loss(theta, twice):
        if not twice:
            return np.sum(odeint(bent, Z0, [0, 1.5], theta, gradient=mode, rtol=1e-6)[-1] ** 2) + theta["b"][0]
        middle = odeint(bent, Z0, [0, 0.7], theta, gradient=mode, rtol=1e-6)[-1]
        return np.sum(odeint(bent, middle, [0.7, 1.5], theta, gradient=mode, rtol=1e-6)[-1] ** 2) + theta["b"][0]
    (value, bar), (value_2, bar_2) = (value_and_grad(loss)(THETA, twice) for twice in (False, True))
    np.testing.assert_allclose(value_2, value, rtol=1e-5)
    np.testing.assert_allclose(bar_2["W"], bar["W"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bar_2["b"], bar["b"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ts", [np.array([0, 1, 2]), np.array([0, 0.7, 2]), [0.0, 1.0, 2.0]])
def test_float32_stays_float32(mode, ts):
    """Times, integer or float64, are constants that widen nothing: the field sees float32 in all its arguments."""
    seen, low = set(), {k: v.astype(np.float32) for k, v in THETA.items()}

    def f(z, t, theta):
        seen.update(map(str, (z.dtype, t.dtype, theta["W"].dtype)))
        return bent(z, t, theta)

    zs, pullback = vjp(lambda z0, theta: odeint(f, z0, ts, theta, gradient=mode, rtol=1e-4, atol=1e-6),
                       Z0.astype(np.float32), low)
    z0_bar, theta_bar = pullback(np.ones((3, 2), np.float32))
    assert zs.dtype == z0_bar.dtype == theta_bar["W"].dtype == theta_bar["b"].dtype == np.float32
    assert seen == {"float32"}
    np.testing.assert_allclose(z0_bar, adjoint(bent, solve(bent, Z0, ts, THETA), np.ones((3, 2)), mode=mode).z0,
                               rtol=2e-3)


def test_float64_ts_and_float32_state_both_differentiated():
    """Each keeps its dtype; the times are not rounded on the way into the solver beyond what they were given as."""
    z0, low = Z0.astype(np.float32), {k: v.astype(np.float32) for k, v in THETA.items()}
    zs, pullback = vjp(lambda z0, ts: odeint(bent, z0, ts, low, gradient="discrete"), z0, TS)
    solution = solve(bent, z0, TS, low)
    z0_bar, ts_bar = pullback(np.ones_like(zs))
    expected = adjoint(bent, solution, np.ones((3, 2)), mode="discrete")
    assert z0_bar.dtype == np.float32 and ts_bar.dtype == np.float64
    np.testing.assert_array_equal(zs, solution.zs)
    np.testing.assert_array_equal(z0_bar, expected.z0)
    np.testing.assert_allclose(ts_bar, expected.ts, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_theta_tree_with_integers(mode):
    """Constants reach the field as they are and have the cotangent None; a tree of constants alone is a constant."""
    kinds = set()

    def f(z, t, theta):
        kinds.add((type(theta["n"]), type(theta["more"][1])))
        return np.tanh(theta["more"][0] @ z + THETA["b"] * np.cos(theta["n"] * t)) - 0.3 * t * z

    theta, g = {"n": 2, "more": (THETA["W"], None)}, np.ones((3, 2))
    _, pullback = vjp(lambda theta: odeint(f, Z0, TS, theta, gradient=mode), theta)
    bar = pullback(g)[0]
    assert kinds == {(int, type(None))} and bar["n"] is None and bar["more"][1] is None
    want = adjoint(bent, solve(bent, Z0, TS, THETA), g, mode=mode)
    np.testing.assert_allclose(bar["more"][0], want.theta["W"], rtol=1e-3)
    for constant in ((), {"n": 3}, None):
        def zs(z0, constant=constant):
            return odeint(lambda z, t, _: bent(z, t, THETA), z0, TS, constant, gradient=mode)

        z0_bar, = vjp(zs, Z0)[1](g)
        np.testing.assert_allclose(z0_bar, want.z0, rtol=1e-4)


@pytest.mark.parametrize("shape", [(), (2, 2)])
@pytest.mark.parametrize("mode", MODES)
def test_states_of_other_shapes(mode, shape):
    """zs (len(ts), *z0.shape) and cotangents of the inputs' shapes."""
    def f(z, t, k):
        return np.sin(t) - k * z * np.cos(t)
    check_vjp(lambda z0, ts, k: odeint(f, z0, ts, k, gradient=mode, **SMOOTH), np.full(shape, 0.7), TS, 0.4, rtol=1e-5)
    assert odeint(f, np.full(shape, 0.7), TS, 0.4).shape == (3, *shape)


def test_options_of_the_backward_pass_alone():
    """backward= goes to adjoint: the same bits as adjoint with them, and the forward pass as if they were not there."""
    g, solution = np.ones((3, 2)), solve(bent, Z0, TS, THETA)
    for backward in ({"rtol": 1e-2, "seminorm": True}, {"restart": True}, {"method": "rk4", "step": 0.3}):
        zs, pullback = vjp(lambda theta, backward=backward: odeint(
            bent, Z0, TS, theta, gradient="backsolve", backward=backward), THETA)
        same(zs, solution.zs)
        same(pullback(g)[0]["W"], adjoint(bent, solution, g, **backward).theta["W"])
    for backward, told in (({"rtol": 1e-3}, "takes no rtol"), ({"foo": 1}, r"keys method.*got \['foo'\]"),
                           ({"seminorm": True}, "seminorm is an option of"), (3, "must be a dict"),
                           ({"restart": 1}, "restart must be True or False")):
        with pytest.raises((TypeError, ValueError), match=told):  # at the call, not in the pullback
            odeint(bent, Z0, TS, THETA, gradient="discrete", backward=backward)
    with pytest.raises(ValueError, match="odeint: backward: rtol must be positive"):
        odeint(bent, Z0, TS, THETA, gradient="backsolve", backward={"rtol": -1})


def test_backsolve_keeps_no_path():
    """Between value and pullback it holds zs alone; "discrete" holds every step."""
    def field(z, t, theta):
        return -z * np.cos(t)

    def held(mode):
        tracemalloc.start()
        try:
            kept = vjp(lambda z0: odeint(field, z0, [0, 1], gradient=mode, method="euler", step=0.01), np.ones(2000))
            return tracemalloc.get_traced_memory()[0] * bool(kept)
        finally:
            tracemalloc.stop()
    state = 2000 * 8
    for mode in MODES:
        steps = held(mode) / state / 100
        assert steps > 2 if mode in ("interpolated", "discrete") else steps < 0.5, mode


def test_bad_arguments_of_odeint():
    with pytest.raises(ValueError, match="odeint: gradient must be one of backsolve, interpolated, "
                                         "discrete, forward, got 'adjoint'"):
        odeint(bent, Z0, TS, THETA, gradient="adjoint")
    with pytest.raises(ValueError, match="odeint: dense follows from gradient"):
        odeint(bent, Z0, TS, THETA, dense=True)
    with pytest.raises(ValueError, match="method must be one of .*, got 'rk5'"):
        odeint(bent, Z0, TS, THETA, method="rk5")
    with pytest.raises(TypeError, match="closes over one of an outer recording"):  # forward pass
        grad(lambda W: np.sum(odeint(lambda z, t, b: np.tanh(W @ z + b), Z0, TS, THETA["b"])))(THETA["W"])
    with pytest.raises(TypeError, match="closes over"):
        grad(lambda z0: np.sum(odeint(lambda z, t, b: z0 * np.cos(t), Z0, TS)))(Z0)
    with pytest.raises(TypeError, match="inside vjp or grad use refvdm.ode.odeint"):
        grad(lambda z0: np.sum(solve(bent, z0, TS, THETA).zs))(Z0)
    with pytest.raises(TypeError, match="only first derivatives"):
        grad(lambda z0: np.sum(grad(lambda z: np.sum(odeint(bent, z, TS, THETA)))(z0)))(Z0)
    def total(W):
        return np.sum(odeint(lambda z, t, b: np.tanh(stop_gradient(W) @ z + b), Z0, TS, THETA["b"]))

    free = grad(lambda W: np.sum(W) * total(W))(THETA["W"])
    assert np.ptp(free) == 0  # a constant to the field


def test_a_field_may_take_gradients_of_its_own():
    """f may call grad on what it is given when it is not itself differentiated: z' = -dV/dz by the engine."""
    def f(z, t, theta):
        return -grad(lambda z: np.sum(z**4) * np.cos(t))(z)
    zs = odeint(f, Z0, TS)
    np.testing.assert_allclose(zs, odeint(lambda z, t, _: -4 * z**3 * np.cos(t), Z0, TS), rtol=1e-12)


# ---------------------------------------------------------------- bad arguments of adjoint


def test_bad_cotangents():
    solution, good = solve(bent, Z0, TS, THETA), np.ones((3, 2))
    for bad, message in ((good[:2], "zs_bar = dL/dzs must have shape (3, 2), got (2, 2)"),
                         (good.ravel(), "got (6,)"),
                         (good * np.nan, "must be finite, got nan"),
                         (good * np.inf, "must be finite, got inf at index (0, 0)"),
                         (good * 1j, "dtype complex128"), (good > 0, "dtype bool"),
                         (good.astype(object), "dtype object")):
        with pytest.raises(TypeError if "dtype" in message else ValueError, match=re.escape(message)):
            adjoint(bent, solution, bad)
    with pytest.raises(TypeError, match="zs_bar is a Tensor; inside vjp or grad use refvdm.ode.odeint"):
        grad(lambda g: np.sum(adjoint(bent, solution, g).z0))(good)
    with pytest.raises(TypeError, match="solution must be a Solution, got ndarray"):
        adjoint(bent, solution.zs, good)
    same(adjoint(bent, solution, good.astype(int).tolist()).z0, adjoint(bent, solution, good).z0)


def test_bad_modes_and_options():
    solution, thin, g = solve(bent, Z0, TS, THETA), solve(bent, Z0, TS, THETA, dense=False), np.ones((3, 2))
    with pytest.raises(ValueError, match="adjoint: mode must be one of backsolve, interpolated, "
                                         "discrete, forward, got 'adjoint'"):
        adjoint(bent, solution, g, mode="adjoint")
    for mode in ("interpolated", "discrete"):
        with pytest.raises(ValueError, match=f"mode='{mode}' needs the steps of the way forward.*dense=False.*"
                                             "mode='backsolve'"):
            adjoint(bent, thin, g, mode=mode)
    for mode in ("backsolve", "forward"):
        same(adjoint(bent, thin, g, mode=mode).z0, adjoint(bent, solution, g, mode=mode).z0)
    for override in ({"rtol": 1e-3}, {"atol": 1e-3}, {"method": "rk4"}, {"step": 0.1}, {"controller": "jax"},
                     {"max_steps": 10}):
        with pytest.raises(ValueError,
                           match=f"mode='discrete' walks back .* own steps and takes no {next(iter(override))}"):
            adjoint(bent, solution, g, mode="discrete", **override)
    for mode in ("discrete", "forward"):
        with pytest.raises(ValueError,
                           match=f"seminorm is an option of mode='backsolve' and mode='interpolated', got '{mode}'"):
            adjoint(bent, solution, g, mode=mode, seminorm=True)
    for mode in MODES[1:]:
        with pytest.raises(ValueError, match=f"restart is an option of mode='backsolve', got '{mode}'"):
            adjoint(bent, solution, g, mode=mode, restart=True)
    with pytest.raises(ValueError, match="adjoint: method must be one of .*, got 'rk5'"):
        adjoint(bent, solution, g, method="rk5")
    with pytest.raises(ValueError, match="adjoint: rtol must be positive"):
        adjoint(bent, solution, g, rtol=-1)
    with pytest.raises(ValueError, match="'rk4' has no error estimate"):
        adjoint(bent, solution, g, method="rk4")


def test_solution_at_one_time_of_a_scalar_state():
    """solution(t) has shape () for a 0-d state at one time."""
    solution = solve(lambda z, t, k: k * np.cos(t) * z, 2.0, [0, 1], 0.9)
    assert np.shape(solution(0.5)) == ()
    np.testing.assert_allclose(solution(0.5), 2 * np.exp(0.9 * np.sin(0.5)), rtol=1e-5)


class ByHand:
    """z' = -z cos t with a vjp whose answers can be spoilt."""

    def __init__(self, value=1.0, theta_bar=()):
        self.value, self.theta_bar = value, np.array(theta_bar, float)

    def __call__(self, z, t, theta):
        return -z * np.cos(t)

    def vjp(self, z, t, theta, a):
        return -z * np.cos(t) * self.value, -a * np.cos(t), self.theta_bar, a @ z * np.sin(t)


@pytest.mark.parametrize("mode", MODES)
def test_a_field_with_a_vjp_of_its_own(mode):
    """Used in place of the engine, and checked: (P,) for theta, z's dtype and shape for f."""
    solution, g = solve(ByHand(), Z0, TS), np.ones((3, 2))
    got, plain = (adjoint(f, solution, g, mode=mode) for f in (ByHand(), lambda z, t, theta: -z * np.cos(t)))
    np.testing.assert_allclose(got.z0, plain.z0, rtol=1e-12)
    np.testing.assert_allclose(got.ts, plain.ts, rtol=1e-12)
    with pytest.raises(ValueError, match=r"a df/dtheta of the field\'s vjp, .* must have shape \(0,\), got \(1,\)"):
        adjoint(ByHand(theta_bar=[1]), solution, g, mode=mode)
    if mode != "forward":  # which takes f from f itself
        with pytest.raises(ValueError, match="must return dz/dt of z's shape"):
            adjoint(ByHand(np.ones((2, 1))), solution, g, mode=mode)


# ---------------------------------------------------------------- z on its way back


def decay(z, t, k):
    """z' = -k (z - cos t): forward it forgets z0, backward it blows every error up by e^(k T)."""
    return k * (np.cos(t) - z)


@pytest.mark.parametrize("k", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("ts", [[0, 2.0], [2.0, 1.0, 0.5], [0, 0.3, 1.5, 2]])
def test_backsolve_is_scipys_run_of_the_augmented_system(k, ts):
    """Stretch by stretch solve_ivp of [z, a, a_theta, a_t], written by hand,
    makes the same steps and numbers, bit by bit."""
    def f_aug(t, y):
        z, a = y[:1], y[1:2]
        return np.concatenate([k * (np.cos(t) - z), k * a, -(a * (np.cos(t) - z)), k * a * np.sin(t)])

    g = np.random.default_rng(1).standard_normal((len(ts), 1))
    solution = solve(decay, [2.0], ts, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReconstructionWarning)
        got = adjoint(decay, solution, g)
    y, t_rows, rows, nfev = np.array([*solution.zs[-1], 0, 0, 0]), [], [], 0
    for i in range(len(ts) - 1, 0, -1):
        y = y + [0, g[i, 0], 0, -float(g[i] @ (k * (np.cos(ts[i]) - solution.zs[i])))]
        run = solve_ivp(f_aug, (ts[i], ts[i - 1]), y, rtol=1e-6, atol=1e-9)
        y, nfev = run.y[:, -1], nfev + run.nfev
        t_rows.append(run.t)
        rows.append(run.y.T)
    t, z, a, a_theta, a_t = got.trajectory
    assert np.array_equal(t, np.concatenate(t_rows))
    assert np.array_equal(np.concatenate([z, a, a_theta, a_t[:, None]], axis=1), np.concatenate(rows))
    assert got.reconstruction_error == y[0] - 2 and got.stats.nvjp == nfev


def test_reconstruction_error_and_its_warning():
    """From z0 = 2 over T = 2: about 1e-4 at k = 5 and no warning;
    tens at k = 10, 2e10 at k = 20 and a warning naming other modes."""
    errors, v = {}, np.array([[0.0], [1]])
    for k in (5.0, 10.0, 20.0):
        solution = solve(decay, [2.0], [0, 2], k)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            errors[k] = abs(adjoint(decay, solution, v).reconstruction_error[0])
        assert len(caught) == (k > 5)
        for warning in caught:
            assert warning.category is ReconstructionWarning and warning.filename == __file__
            text = str(warning.message)
            assert text.startswith("mode='backsolve': z integrated backward") and text.endswith("Use mode='discrete'")
            assert f"{errors[k]:.2g}, {errors[k] / 2:.2g} times" in text
    assert 2e-5 < errors[5] < 1e-3 and 5 < errors[10] < 200 and 5e9 < errors[20] < 1e11
    for mode in MODES[1:3]:  # these do not care
        got = adjoint(decay, solution, v, mode=mode, **({} if mode == "discrete" else {"atol": 1e-20}))
        assert abs(got.z0[0] / np.exp(-40) - 1) < 1e-2


def test_the_warning_begins_at_a_tenth_of_the_size_of_z():
    """Size is the largest rms of z at an output; z = 0 everywhere misses by nothing and warns of nothing."""
    seen = []
    for k in (6.0, 7.0, 7.5, 9.0):
        solution = solve(decay, [2.0, -2.0], [0, 2], k)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            error = adjoint(decay, solution, np.ones((2, 2))).reconstruction_error
        seen.append((np.sqrt(np.mean(error**2)), len(caught)))
        assert len(caught) == (seen[-1][0] > 0.2)
    assert 0 < sum(n for _, n in seen) < len(seen)
    adjoint(lambda z, t, k: np.sin(t) * z * k, solve(lambda z, t, k: np.sin(t) * z * k, [0.0], [0, 2], 1.0),
            np.ones((2, 1)))
    # it starts and ends at 0, and finds the way to neither
    with pytest.warns(ReconstructionWarning, match=re.escape("inf times")):
        adjoint(lambda z, t, k: k - 30 * z, solve(lambda z, t, k: 0 * z * k, [0.0], [0, 2], 1.0), np.ones((2, 1)))


@pytest.mark.parametrize(("mode", "other"), [("backsolve", "interpolated"), ("interpolated", "discrete")])
@pytest.mark.parametrize("options", [{"max_steps": 3}, {"step": 0.01, "max_steps": 3}])
def test_a_way_back_that_fails_names_another(mode, other, options):
    solution = solve(bent, Z0, [0, 0.5, 2.5], THETA)
    with pytest.raises(SolverError,
                       match=f"on the way back from t = 2.5 to 0.5: .*\\. mode='{other}' may get there") as caught:
        adjoint(bent, solution, np.ones((3, 2)), mode=mode, **options)
    assert caught.value.reason == "too many steps" and 0.5 < caught.value.t < 2.5 and caught.value.solution is None
    with pytest.raises(SolverError, match=f"\\. gradient='{other}' may get there"):
        grad(lambda z0: np.sum(odeint(bent, z0, [0, 0.5, 2.5], THETA, gradient=mode, backward=options)))(Z0)


def test_what_odeint_says_names_its_own_argument():
    with pytest.warns(ReconstructionWarning, match="^gradient='backsolve': z integrated.* Use gradient='discrete'$"):
        grad(lambda z0: np.sum(odeint(decay, z0, [0, 2], 10.0, gradient="backsolve")))(np.array([2.0]))
    with pytest.raises(SolverError, match="^gradient='forward', the variational equation: max_steps"):
        grad(lambda z0: np.sum(odeint(decay, z0, [0, 2], 1.0, gradient="forward", backward={"max_steps": 2})))(
            np.array([2.0]))
    with pytest.raises(ValueError, match="odeint: .* give rtol and atol for it in backward"):
        grad(lambda z0: np.sum(odeint(decay, z0, [0, 2], 1.0, gradient="backsolve", atol=np.full(1, 1e-6))))(
            np.array([2.0]))
    with pytest.raises(ValueError, match="odeint: seminorm is an option of gradient='backsolve' and "
                                         "gradient='interpolated', got 'discrete'"):
        odeint(decay, np.array([2.0]), [0, 2], 1.0, backward={"seminorm": True})
