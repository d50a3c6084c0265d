"""What solve does when it cannot go on, and what it says to arguments that make no sense."""
import math
import pickle
import re

import numpy as np
import pytest

from refvdm.autodiff import Tensor, grad, vjp
from refvdm.ode import METHODS, SolverError, solve
from refvdm.ode.controller import CONTROLLERS

every_controller = pytest.mark.parametrize("controller", CONTROLLERS)
Z0, TS = np.array([1.0, 2.0]), [0.0, 1.0]


def decay(z, t, theta):
    return -z


def beyond(where):
    """z' = cos t up to `where`, nan beyond."""
    return lambda z, t, theta: np.where(t <= where, np.cos(t), np.nan) * np.ones_like(z)


def failure(*args, **options):
    with pytest.raises(SolverError) as caught:
        solve(*args, **options)
    return caught.value


# ---------------------------------------------------------------- an integration that stops


@every_controller
@pytest.mark.parametrize("sign", [1, -1])
def test_blow_up(controller, sign):
    """z' = z² from 1 is 1/(1 - t): it stops at 1, says where, and hands over what it has."""
    ts = [0.0, sign * 0.5, sign * 0.9, sign * 2.0]
    error = failure(lambda z, t, theta: sign * z * z, np.array([1.0]), ts, controller=controller, max_steps=1000)
    assert error.reason in ("step too small", "not finite", "too many steps") and abs(error.t - sign) < 1e-4
    if controller != "diffrax":  # whose bound on the step creeps on by ever fewer ulp
        assert error.reason != "too many steps"
    assert f"t = {error.t:g}" in str(error)
    partial = error.solution
    assert partial.ts.tolist() == [0.0, sign * 0.5, sign * 0.9] and partial.zs.shape == (3, 1)
    np.testing.assert_allclose(partial.zs[:, 0], [1, 2, 10], rtol=1e-4)
    assert partial.t[-1] == error.t and len(partial.path) == partial.stats.accepted == len(partial.t) - 1
    np.testing.assert_allclose(partial(sign * 0.8), [5], rtol=1e-4)
    assert sum(record.accepted for record in partial.steps) == partial.stats.accepted < len(partial.steps)
    assert f"to {sign * 0.9:g}" in repr(partial)


def test_blow_up_in_fixed_steps():
    """Euler's method on z' = z² overflows some steps beyond 1: "not finite", with the steps before."""
    error = failure(lambda z, t, theta: z * z, np.array([1.0]), [0.0, 0.5, 5.0], method="euler", step=0.01)
    assert error.reason == "not finite" and 1 < error.t < 1.3 and "blows up" in str(error)
    assert error.solution.zs.shape == (2, 1) and error.solution.t[-1] == pytest.approx(error.t)
    assert np.isfinite(error.solution.path[-1].y_new).all()
    assert error.solution.stats.nfev == error.solution.stats.accepted + 1


@every_controller
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_at_the_start(controller, bad):
    """f(z0, ts[0]) is nan or infinite: at once, after one evaluation, with ts[0] as the only output."""
    error = failure(lambda z, t, theta: np.array([1.0, bad]), Z0, [0.5, 0.5, 1.0], controller=controller)
    assert (error.reason, error.t, error.solution.stats.nfev) == ("not finite", 0.5, 1)
    assert "at the start, t = 0.5" in str(error) and error.solution.zs.tolist() == [[1, 2], [1, 2]]
    assert error.solution.steps == []


def test_not_finite_at_the_start_of_fixed_steps():
    """The first step is the one that fails."""
    error = failure(lambda z, t, theta: np.full_like(z, np.nan), Z0, TS, method="rk4", step=0.5)
    assert (error.reason, error.t) == ("not finite", 0.0) and error.solution.zs.tolist() == [[1, 2]]


@pytest.mark.parametrize("sign", [1, -1])
@every_controller
def test_not_finite_beyond_a_boundary(controller, sign):
    """A field that ends at 0.7 is followed up to there: steps across it are rejected until none is left."""
    error = failure(lambda z, t, theta: beyond(0.7)(z, sign * t, theta), np.array([0.0]), [0.0, sign * 0.6, sign],
                    controller=controller)
    assert error.reason == "not finite" and abs(error.t - sign * 0.7) < 1e-9 and f"beyond t = {error.t:g}" in str(error)
    np.testing.assert_allclose(error.solution.zs[-1], [sign * math.sin(0.6)], rtol=1e-5)
    rejected = [record for record in error.solution.steps if not record.accepted]
    assert len(rejected) > 10 and all(math.isnan(record.error_ratio) for record in rejected)


@every_controller
def test_trial_steps_that_are_not_finite_are_tried_again_at_a_fifth(controller):
    """z' = -sqrt(z) sinks to 0 at t = 2 and is nan below: nan trial steps are rejected, the next is a fifth,
    and 1.97 is reached."""
    solution = solve(lambda z, t, theta: -np.sqrt(z), np.array([1.0]), [0.0, 1.97],
                     controller=controller, rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(solution.zs[-1], [(1 - 1.97 / 2) ** 2], rtol=0.1)
    records = solution.steps
    failed = [i for i, record in enumerate(records) if math.isnan(record.error_ratio)]
    assert failed and not any(records[i].accepted for i in failed)
    for i in failed:
        if controller == "diffrax" and records[i + 1].h != pytest.approx(records[i].h / 5):
            continue  # near the end diffrax goes half of the way
        assert records[i + 1].h == pytest.approx(records[i].h / 5, rel=1e-9) and records[i + 1].t == records[i].t


@every_controller
def test_an_overflow_does_not_pass_for_a_small_error(controller):
    """y_new = inf would divide the error away: such a step is rejected, and the short ones after it succeed."""
    def f(z, t, theta):
        return np.where(np.abs(z) > 1e3, 1e308 * np.sign(z), -30 * z) * np.array([1.0, -1.0])

    error = failure(f, np.array([1.0, 1.0]), [0.0, 40.0], controller=controller, max_steps=400)
    assert np.isfinite([step.y_new for step in error.solution.path]).all()


def test_step_size_that_underflows():
    """A jump of the field to 1e40 can be crossed by no step that keeps the tolerance: "step too small", r finite."""
    error = failure(lambda z, t, theta: np.where(t > 0.5, 1e40, 1.0) * np.ones_like(z), np.array([0.0]), TS,
                    rtol=1e-10, atol=1e-10)
    assert error.reason == "step too small" and abs(error.t - 0.5) < 1e-6 and "rtol 1e-10, atol 1e-10" in str(error)
    assert all(math.isfinite(record.error_ratio) for record in error.solution.steps)


@pytest.mark.parametrize("options", [{}, {"controller": "torchdiffeq"}, {"method": "rk4", "step": 0.01}], ids=str)
def test_max_steps(options):
    """"too many steps", after exactly so many attempts, with the time reached and the end."""
    error = failure(lambda z, t, theta: np.cos(40 * t) * z, Z0, [0.0, 1e-4, 9.0], max_steps=7, **options)
    partial = error.solution
    assert error.reason == "too many steps" and len(partial.steps) == 7 and error.t == pytest.approx(partial.t[-1])
    assert "max_steps = 7 " in str(error) and "before 9" in str(error)
    assert np.isfinite(partial.zs).all() and len(partial.zs) == len(partial.ts) < 3


def test_max_steps_counts_over_all_intervals():
    """Fixed steps: the limit is one for all intervals together."""
    error = failure(decay, Z0, [0.0, 1.0, 2.0], method="euler", step=0.25, max_steps=6)
    assert error.t == 1.5 and error.solution.ts.tolist() == [0, 1] and error.solution.stats.accepted == 6


def test_error_pickles():
    """SolverError is an ArithmeticError; reason, t and text survive pickling, the solution (it holds f) stays."""
    error = failure(lambda z, t, theta: z * z, np.array([1.0]), [0.0, 2.0])
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ArithmeticError) and type(copy) is SolverError
    assert (copy.reason, copy.t, str(copy), copy.solution) == (error.reason, error.t, str(error), None)


@every_controller
@pytest.mark.parametrize("f, z0, reaches", [
    (lambda z, t, theta: np.where(t > 0, np.nan, 0 * z), np.zeros(1), None),
    (lambda z, t, theta: np.full_like(z, 1e308), np.ones(1), None),
    (lambda z, t, theta: np.array([0, 1e14], np.float32), np.ones(2, np.float32), [1, 1e14]),
], ids=["nan", "huge", "float32"])
def test_slopes_whose_norm_overflows(controller, f, z0, reaches):
    """A slope of 0 with nan after it, or one whose scaled square overflows: a solution or a SolverError,
    no ZeroDivisionError."""
    if reaches is None:
        assert failure(f, z0, [0.0, 10.0], controller=controller).solution.zs.tolist() == [z0.tolist()]
    else:
        try:
            np.testing.assert_allclose(solve(f, z0, TS, controller=controller).zs[-1], reaches, rtol=1e-5)
        except SolverError as error:  # the rule gives them a first step of 0
            assert controller in ("torchdiffeq", "jax") and error.t == 0


# ---------------------------------------------------------------- arguments


def refused(kind, message, f=decay, z0=Z0, ts=TS, theta=(), **options):
    with pytest.raises(kind, match=message):
        solve(f, z0, ts, theta, **options)


@pytest.mark.parametrize("ts, message", [
    ([0.0, 1.0, 0.5], r"ts must be in increasing or decreasing order, got \[0. +1. +0.5\]"),
    ([1.0, 1.0, 0.0, 0.5], "order"), ([0.0, np.nan], "finite.*nan"), ([0.0, np.inf], "finite.*inf"),
    ([np.nan], "finite"),
    ([[0.0, 1.0]], r"ts must have shape \(n,\), got \(1, 2\)"), ([], r"at least one time, got shape \(0,\)"),
    (1.0, r"got \(\)"),
    (["a", "b"], "dtype <U1"), ([0j, 1j], "dtype complex128"), ([True, False], "dtype bool"),
    ([None, 1.0], "dtype object")], ids=str)
def test_times(ts, message):
    """ts: a vector of at least one finite real number, in order."""
    refused(TypeError if "dtype" in message else ValueError, message, ts=ts)


@pytest.mark.parametrize("z0, kind, message", [
    ([1, 2], TypeError, r"z0 must be an array of floats, got dtype int64.*astype\(float\)"),
    (3, TypeError, "got dtype int64"),
    ([1j], TypeError, "complex128"), ([True], TypeError, "dtype bool"), (["a"], TypeError, "dtype <U1"),
    (None, TypeError, "dtype object"),
    (np.ones(2, np.float16), TypeError, r"z0 must be of dtype float64 or float32, got dtype float16.*astype\(float\)"),
    (np.zeros((0, 2)), ValueError, r"z0 must hold at least one number.*got shape \(0, 2\)"),
    ([1.0, np.nan], ValueError, "finite.*nan"),
    ([-np.inf], ValueError, "finite.*inf")], ids=str)
def test_initial_states(z0, kind, message):
    """z0: finite, not empty, float64 or float32; nothing is cast in silence."""
    refused(kind, message, z0=z0)


def test_tensors_belong_to_odeint():
    """Inside grad, z0 or ts as a Tensor would lose the gradient: TypeError that names odeint."""
    for message, run in (("z0 is a Tensor.*refvdm.ode.odeint", lambda z: solve(decay, z, TS)),
                         ("ts is a Tensor.*refvdm.ode.odeint", lambda ts: solve(decay, Z0, ts))):
        with pytest.raises(TypeError, match=message):
            vjp(run, np.array([0.0, 1.0]))


def test_field_that_closes_over_a_tensor():
    """f returning a Tensor of an outer recording: TypeError, for its gradient would be lost."""
    def loss(a):
        assert type(a) is Tensor
        return solve(lambda z, t, theta: a * z, Z0, TS).zs.sum()

    with pytest.raises(TypeError, match=r"returns a Tensor.*odeint.*stop_gradient"):
        grad(loss)(1.0)


@pytest.mark.parametrize("answer, kind, message", [
    (np.zeros(3), ValueError, r"must return dz/dt of z's shape \(2,\), got shape \(3,\)"),
    (np.zeros((2, 1)), ValueError, r"\(2, 1\)"),
    (0.0, ValueError, r"shape \(2,\), got shape \(\)"), (None, TypeError, "as an array, got NoneType"),
    (np.zeros(2, np.float32), TypeError, "z's dtype float64, got float32"),
    (np.zeros(2, int), TypeError, "got int64: cast theta"),
    (np.zeros(2, complex), TypeError, "got complex128"), ([None, None], TypeError, "got object")], ids=str)
@pytest.mark.parametrize("options", [{}, {"method": "euler", "step": 0.5}], ids=str)
def test_answers_of_the_field(answer, kind, message, options):
    """dz/dt: of z's shape and dtype, broadcast and cast by nobody."""
    refused(kind, message, f=lambda z, t, theta: answer, **options)


def test_field_must_keep_float32():
    """A float64 answer to a float32 state, from a float64 theta."""
    refused(TypeError, "z's dtype float32, got float64: cast theta", f=lambda z, t, theta: theta * z,
            z0=Z0.astype(np.float32), theta=np.array([1.0, 2.0]))


def test_a_list_is_an_answer_too():
    """A list of floats of the right length."""
    np.testing.assert_array_equal(solve(lambda z, t, theta: [float(-x) for x in z], Z0, TS).zs, solve(decay, Z0, TS).zs)


@pytest.mark.parametrize("name, known", [("method", METHODS), ("controller", CONTROLLERS)])
@pytest.mark.parametrize("value", ["rk45", "DOPRI5", "", None, 5, ["dopri5"], np.array(["scipy"])], ids=str)
def test_unknown_names(name, known, value):
    """The message lists what is known."""
    refused(ValueError, re.escape(f"solve: {name} must be one of {', '.join(known)}, got {value!r}"), **{name: value})


@pytest.mark.parametrize("value", [0, 0.0, -1e-6, np.nan, np.inf, "1e-6", None, [1e-6], 1e-6j], ids=str)
@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances(name, value):
    """rtol and atol: positive finite numbers."""
    refused(ValueError, re.escape(f"solve: {name} must be positive and finite, got {value!r}"), **{name: value})


@pytest.mark.parametrize("name", ["rtol", "atol", "step"])
def test_a_flag_is_no_number(name):
    """True is not a tolerance or a step of 1."""
    refused(ValueError, f"{name} must be positive and finite, got True", **{name: True})


@pytest.mark.parametrize("value", [0, -0.1, np.nan, np.inf, "0.1", [0.1]], ids=str)
def test_steps(value):
    """step: a positive finite number; in decreasing time too."""
    for method in ("euler", "dopri5"):
        message = re.escape(f"solve: step must be positive and finite, got {value!r}")
        refused(ValueError, message, step=value, method=method)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rk4", "rk4_38"])
def test_methods_without_an_error_estimate_need_a_step(method):
    """The message says so and names the two that do without."""
    refused(ValueError, f"method '{method}' has no error estimate: give it a fixed step=, or choose bosh3 or dopri5",
            method=method)


@pytest.mark.parametrize("value", [0, -1, 5.0, "5", None, True, np.inf], ids=str)
def test_max_steps_is_a_positive_integer(value):
    """max_steps: an integer, at least 1, no flag."""
    refused(ValueError, re.escape(f"solve: max_steps must be an integer of at least 1, got {value!r}"), max_steps=value)


def test_defaults():
    """What solve does when nothing is said."""
    options = solve(decay, Z0, TS).options._asdict()
    assert options == {"method": "dopri5", "rtol": 1e-6, "atol": 1e-9, "controller": "scipy", "step": None,
                       "max_steps": 10_000, "first_step": None, "max_step": np.inf}


def test_numpy_numbers_are_numbers():
    """Options given as NumPy scalars or integers are as good, and are kept as floats."""
    plain = solve(decay, Z0, TS, rtol=0.5, atol=1.0, max_steps=50)
    fancy = solve(decay, Z0, TS, rtol=np.float32(0.5), atol=1, max_steps=np.int64(50))
    assert fancy.t.tolist() == plain.t.tolist() and fancy.options == plain.options and type(fancy.options.rtol) is float
    steps = [solve(decay, Z0, TS, step=step).options.step for step in (1, np.int32(1), np.float32(1))]
    assert steps == [1.0] * 3 and all(type(step) is float for step in steps)
    assert solve(decay, Z0, TS, max_steps=1, step=1).stats.accepted == 1


def test_errors_of_the_field_pass_through():
    """What f raises is the caller's own, neither wrapped nor swallowed."""
    def f(z, t, theta):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        solve(f, Z0, TS)
