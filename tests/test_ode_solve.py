"""solve: closed forms, what f is called with, outputs between steps, fixed steps, the log, and what belongs to whom."""
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from refvdm.ode import METHODS, SolverError, Stats, StepRecord, TimeWarning, adjoint, solve
from refvdm.ode.controller import CONTROLLERS

FIXED = {"euler": 2e-4, "midpoint": 5e-3, "heun": 5e-3, "rk4": 0.05, "rk4_38": 0.05, "bosh3": 0.02, "dopri5": 0.1}
THETA = 0.7
TIMES = [0.0, 0.3, 0.3, 1.0, 1.7]
every_controller = pytest.mark.parametrize("controller", CONTROLLERS)
every_method = pytest.mark.parametrize("method", METHODS)


def swing(z, t, theta):
    """z' = theta cos(t) z, whose solution is z0 exp(theta (sin t - sin t0))."""
    return theta * np.cos(t) * z


def swung(z0, ts, theta=THETA):
    ts = np.asarray(ts)
    return np.multiply.outer(np.exp(theta * (np.sin(ts) - np.sin(ts[0]))), z0)


def start(shape, dtype=np.float64):
    return (1 + np.arange(math.prod(shape)).reshape(shape) / 4).astype(dtype)


class Recorder:
    """A field that keeps every (t, z) it was called with."""

    def __init__(self, f):
        self.f, self.calls = f, []

    def __call__(self, z, t, theta):
        self.calls.append((float(t), z.copy()))
        return self.f(z, t, theta)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@every_method
def test_closed_form_with_fixed_steps(method, shape, backward):
    """z' = theta cos(t) z at all ts, any shape, either direction, a time given twice."""
    ts, z0 = TIMES[::-1] if backward else TIMES, start(shape)
    zs = solve(swing, z0, ts, THETA, method=method, step=FIXED[method] if shape != () else FIXED[method] * 2).zs
    assert zs.shape == (5, *shape) and zs.dtype == np.float64
    np.testing.assert_allclose(zs, swung(z0, ts), rtol=4e-4)
    np.testing.assert_array_equal(zs[0], z0)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("method", ["bosh3", "dopri5"])
@every_controller
def test_closed_form_with_adaptive_steps(controller, method, shape, backward):
    """The same under every step policy, to what rtol and atol promise."""
    ts, z0 = TIMES[::-1] if backward else TIMES, start(shape)
    solution = solve(swing, z0, ts, THETA, method=method, controller=controller, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(solution.zs, swung(z0, ts), rtol=2e-4)
    np.testing.assert_array_equal(solution.zs[0], z0)
    if backward:
        assert (np.diff(solution.t) < 0).all()


def test_linear_non_autonomous_system():
    """x' = y + t, y' = 1 - x from (1, 0): x'' = 2 - x, so x = 2 - cos t and y = sin t - t."""
    solution = solve(lambda z, t, theta: np.array([z[1] + t, -z[0] + 1]), np.array([1.0, 0.0]), [0.0, 2.0, 5.0],
                     rtol=1e-9, atol=1e-12)
    t = solution.ts
    np.testing.assert_allclose(solution.zs, np.stack([2 - np.cos(t), np.sin(t) - t], axis=1), atol=1e-8)


@every_method
def test_float32_stays_float32(method):
    """zs, z and t in f, and the interpolant are float32; t is a 0-d array; the step is not lost in rounding."""
    seen = set()

    def f(z, t, theta):
        seen.add((type(t), t.dtype, t.shape, z.dtype, z.shape, z.flags.writeable))
        return swing(z, t, theta)

    for dtype in (np.float32, np.float64):
        seen.clear()
        z0, theta = start((2, 3), dtype), np.array(THETA, dtype)
        solution = solve(f, z0, TIMES, theta, method=method, step=max(FIXED[method], 2e-3))
        assert solution.zs.dtype == solution(0.5).dtype == dtype
        assert seen == {(np.ndarray, np.dtype(dtype), (), np.dtype(dtype), (2, 3), False)}
        np.testing.assert_allclose(solution.zs, swung(z0, TIMES), rtol=2e-3)


@every_controller
def test_float32_adaptive(controller):
    """Adaptive steps of a float32 state reach the accuracy asked for and stay float32."""
    solution = solve(swing, start((3,), np.float32), TIMES, np.float32(THETA),
                     controller=controller, rtol=1e-4, atol=1e-5)
    assert solution.zs.dtype == np.float32 and all(step.K.dtype == np.float32 for step in solution.path)
    np.testing.assert_allclose(solution.zs, swung(start((3,)), TIMES), rtol=5e-4)


@pytest.mark.parametrize("ts", [[2.0], [2.0, 2.0, 2.0], [2]], ids=str)
@pytest.mark.parametrize("options", [{}, {"step": 0.1}, {"controller": "diffrax"}], ids=str)
def test_nothing_to_integrate(ts, options):
    """One time, or only equal ones: every z is z0, no step, no evaluation; solution(t) is z0 there."""
    solution = solve(swing, start((2, 3)), ts, THETA, **options)
    assert solution.stats == Stats(0, 0, 0, 0) and solution.steps == [] and solution.t.tolist() == [2.0]
    np.testing.assert_array_equal(solution.zs, np.stack([start((2, 3))] * len(ts)))
    np.testing.assert_array_equal(solution(2.0), start((2, 3)))
    assert "euler" not in repr(solution) and "t from 2 to 2" in repr(solution)


# ---------------------------------------------------------------- outputs between the steps


@given(st.lists(st.floats(0, 3, allow_subnormal=False), max_size=6), st.sampled_from(list(CONTROLLERS)), st.booleans())
def test_inner_times_change_no_step(inner, controller, backward):
    """Adaptive steps look only at ts[0] and ts[-1]; the output at every inner time is solution(t), bit for bit."""
    ts, ends = [0.0, *sorted(inner), 3.0], [0.0, 3.0]
    if backward:
        ts, ends = ts[::-1], ends[::-1]
    options = {"rtol": 1e-3, "atol": 1e-5, "controller": controller}
    few, many = solve(swing, start((2,)), ends, THETA, **options), solve(swing, start((2,)), ts, THETA, **options)
    assert np.array_equal(few.t, many.t) and few.stats == many.stats
    assert np.array_equal(few.zs[[0, -1]], many.zs[[0, -1]])
    np.testing.assert_array_equal(many.zs, few(np.array(ts)))


@pytest.mark.parametrize("method, order", [("dopri5", 4), ("bosh3", 3), ("rk4", 3), ("heun", 2), ("euler", 1)])
def test_order_of_the_interpolant(method, order):
    """One step of length h of z' = exp(t - z): the worst error inside falls as h^(order + 1)."""
    lengths, errors = np.array([0.2, 0.1, 0.05]), []
    x = np.linspace(0, 1, 41)[1:-1]
    for h in lengths:
        solution = solve(lambda z, t, theta: np.exp(t - z), np.log1p(np.exp(2.5)), [2.5, 2.5 + h],
                         method=method, step=1)
        assert solution.stats.accepted == 1
        errors.append(np.abs(solution(2.5 + h * x) - np.log1p(np.exp(2.5 + h * x))).max())
    assert abs(np.polyfit(np.log(lengths), np.log(errors), 1)[0] - order - 1) < 0.2


@pytest.mark.parametrize("ends", [(0.0, 3.0), (3.0, 0.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("options",
                         [{}, {"method": "bosh3"}, {"controller": "jax"}, {"controller": "diffrax"}, {"step": 0.25},
                          {"method": "rk4", "step": 0.25}, {"method": "euler", "step": 0.25}], ids=str)
def test_dense_output_is_continuously_differentiable(options, ends):
    """At every node solution(t) is the step's value, and its slope from both sides is f there."""
    solution = solve(swing, start((2, 3)), ends, THETA, rtol=1e-4, atol=1e-6, **options)
    nodes, path = solution.t, solution.path
    assert len(path) == len(nodes) - 1 == solution.stats.accepted
    assert all(a.t_new == b.t and a.y_new is b.y for a, b in itertools.pairwise(path))
    inside = nodes[(nodes >= 0) & (nodes <= 3)]
    z = solution(inside)
    for i, step in enumerate(path[: len(inside) - 1]):
        np.testing.assert_array_equal(z[i + 1], step.y_new.reshape(2, 3))
    h = 1e-5
    central = inside[1:-1]
    left, right = (solution(central) - solution(central - h)) / h, (solution(central + h) - solution(central)) / h
    slope = swing(solution(central), central[:, None, None], THETA)
    np.testing.assert_allclose(left, slope, atol=3e-4)
    np.testing.assert_allclose(right, slope, atol=3e-4)
    for step in path:
        solution.complete(step)
        for t, y, k in ((step.t, step.y, step.K[0]), (step.t_new, step.y_new, step.K[-1])):
            np.testing.assert_allclose(k, swing(y, t, THETA), rtol=1e-12)


def test_scalar_and_vector_times_and_what_lies_outside():
    """t () gives z's shape, (n,) adds an axis; beyond the ends, nan, or more axes:
    ValueError with the bounds and the time."""
    for ts in ([0.0, 2.0], [2.0, 0.0]):
        solution = solve(swing, start((2, 3)), ts, THETA)
        assert solution(1.0).shape == (2, 3) and solution([1.0]).shape == (1, 2, 3)
        assert solution(np.linspace(0, 2, 5)).shape == (5, 2, 3)
        assert solution([]).shape == (0, 2, 3)
        np.testing.assert_array_equal(solution(ts[0]), start((2, 3)))
        np.testing.assert_array_equal(solution(ts[-1]), solution.zs[-1])
        np.testing.assert_array_equal(solution([0.3, 1.2])[1], solution(1.2))
        for t in (-1e-9, 2.0000001, math.nan, [1.0, 3.0], [[1.0]]):
            with pytest.raises(ValueError, match=r"solution\(t\): t must be .* between 0.0 and 2.0, got "):
                solution(t)


def test_without_dense_there_is_no_interpolant():
    """dense=False keeps no steps, gives the same zs, stats and log, and says how to get an interpolant."""
    dense, sparse = (solve(swing, start((2,)), TIMES, THETA, dense=dense) for dense in (True, False))
    np.testing.assert_array_equal(dense.zs, sparse.zs)
    assert sparse.path is None and sparse.stats == dense.stats and sparse.steps == dense.steps and len(dense.path) > 1
    with pytest.raises(ValueError, match="dense=False.*dense=True"):
        sparse(1.0)


@pytest.mark.parametrize("sign", [1, -1])
@every_controller
def test_who_runs_over_the_end(controller, sign):
    """SciPy and diffrax end at ts[-1] exactly; torchdiffeq and jax evaluate beyond it,
    and zs[-1] comes from the last interpolant."""
    field = Recorder(swing)
    solution = solve(field, start((2,)), [0.0, sign * 1.5], THETA, controller=controller, rtol=1e-7, atol=1e-9)
    furthest = max(sign * t for t, _ in field.calls)
    if controller in ("scipy", "diffrax"):
        assert solution.t[-1] == sign * 1.5 == sign * furthest
        np.testing.assert_array_equal(solution.zs[-1], solution.path[-1].y_new)
    else:
        assert sign * solution.t[-1] > 1.5 and furthest >= sign * solution.t[-1] and sign * solution.t[-2] < 1.5
        assert not np.array_equal(solution.zs[-1], solution.path[-1].y_new)
    np.testing.assert_array_equal(solution.zs[-1], solution(sign * 1.5))
    np.testing.assert_allclose(solution.zs[-1], swung(start((2,)), [0, sign * 1.5])[-1], rtol=1e-6)


# ---------------------------------------------------------------- fixed steps


@pytest.mark.parametrize("length, step, n",
                         [(1.1, 0.1, 11), (1.0, 0.1, 10), (0.3, 0.1, 3), (1.0, 0.3, 4), (1.0, 0.99, 2), (1.0, 1.0, 1),
                          (1.0, 5.0, 1), (1e-3, 1.0, 1), (1.0 + 1e-6, 0.5, 3), (2.0, 0.5, 4)])
def test_number_of_fixed_steps(length, step, n):
    """ceil(length / step) equal ones in either direction, not one more for a quotient a rounding error
    above an integer."""
    for ts in ([0.0, length], [length, 0.0], [-length, 0.0]):
        solution = solve(swing, start(()), ts, THETA, method="euler", step=step)
        assert len(solution.steps) == n and solution.t[-1] == ts[-1]
        assert {record.h for record in solution.steps} == {(ts[1] - ts[0]) / n}


@pytest.mark.parametrize("gap", [1e-10, -1e-10, 5e-12])
def test_short_intervals_have_a_step_of_their_own(gap):
    """However short [ts[i], ts[i+1]] is beside the step, z moves on by gap * f, to first order."""
    sign = math.copysign(1.0, gap)
    solution = solve(lambda z, t, theta: np.full_like(z, 1e6), np.zeros(2), [0.0, gap, sign, sign + gap],
                     method="euler", step=0.5)
    assert solution.stats.accepted == 4 and solution.t[-1] == sign + gap
    np.testing.assert_allclose(solution.zs[:, 0], 1e6 * solution.ts, rtol=1e-12)


@every_method
def test_fixed_steps_cost_stages_and_meet_the_times(method):
    """nfev = stages * steps, each interval divided by itself;
    solution(t) on the last step asks for one more evaluation, once."""
    field, ts = Recorder(swing), [0.0, 0.35, 0.35, 1.0, 1.05]
    solution = solve(field, start((2,)), ts, THETA, method=method, step=0.1)
    assert solution.stats == Stats(METHODS[method].stages * 12, 0, 12, 0) and len(field.calls) == solution.stats.nfev
    expected = np.concatenate([0.35 / 4 * np.arange(4), 0.35 + 0.65 / 7 * np.arange(7), [1.0, 1.05]])
    np.testing.assert_allclose(solution.t, expected, rtol=1e-14)
    assert set(ts) <= set(solution.t.tolist())
    for t in (0.5, 0.999, 1.0):  # what lies on earlier steps has its slope at the end already
        solution(t)
    solution(1.05)
    for t in (1.03, 1.01, 1.04):
        solution(t)
        assert solution.stats.nfev == len(field.calls) == 12 * METHODS[method].stages + 1
    assert field.calls[-1][0] == 1.05
    np.testing.assert_array_equal(field.calls[-1][1], solution.zs[-1])
    np.testing.assert_array_equal(solution.zs, solution(ts))


def test_adaptive_steps_have_their_last_stage_already():
    """f(t_new, y_new) was an error stage: solution(t) costs no evaluation."""
    solution = solve(swing, start((2,)), [0.0, 1.0], THETA)
    before = solution.stats
    solution(np.linspace(0, 1, 50))
    assert solution.stats == before


def test_eulers_method_is_a_residual_network():
    """13.6: z_{l+1} = z_l + f(z_l, w) with the same w in every layer is Euler's method with h = 1, bit for bit."""
    rng = np.random.default_rng(0)
    W, z = rng.normal(size=(4, 4)), rng.normal(size=(3, 4))
    layers = [z]
    for _ in range(6):
        layers.append(layers[-1] + np.tanh(layers[-1] @ W))
    np.testing.assert_array_equal(solve(lambda z, t, W: np.tanh(z @ W), z, range(7), W, method="euler", step=1).zs,
                                  np.stack(layers))


@pytest.mark.parametrize("method", ["rk4", "bosh3", "dopri5"])
def test_a_step_by_hand(method):
    """One step: y + h sum b_i k_i with k_i from the exact fractions."""
    tableau, f = METHODS[method], lambda z, t, theta: np.array([z[1] * t, 1 - z[0] ** 2])
    t, h, y, ks = 0.4, 0.25, np.array([0.3, -1.2]), []
    for a, c in zip(tableau.a, tableau.c):
        ks.append(f(y + h * sum((float(w) * k for w, k in zip(a, ks)), np.zeros(2)), t + float(c) * h, ()))
    expected = y + h * sum(float(w) * k for w, k in zip(tableau.b, ks))
    solution = solve(f, y, [t, t + h], method=method, step=1)
    np.testing.assert_allclose(solution.zs[-1], expected, rtol=1e-14)
    np.testing.assert_allclose(solution.path[0].K[:-1], ks, rtol=1e-14)
    assert solution.path[0][:2] == (t, t + h - t) and solution.path[0].t_new == t + h


# ---------------------------------------------------------------- the log


@pytest.mark.parametrize("ends", [(0.0, 8.0), (8.0, 0.0)], ids=["forward", "backward"])
@every_controller
def test_the_log_agrees_with_the_nodes_and_the_stats(controller, ends):
    """Accepted records chain along .t; a rejected one is followed, at the same t, by a shorter one;
    counts and calls agree."""
    field = Recorder(lambda z, t, theta: 3 * np.cos(9 * np.sin(2 * t)) * z)
    solution = solve(field, np.array([1.0, 2.0]), ends, rtol=1e-4, atol=1e-7, controller=controller)
    records, stats = solution.steps, solution.stats
    accepted = [record for record in records if record.accepted]
    assert stats.rejected > 2 and (len(accepted), len(records)) == (stats.accepted, stats.accepted + stats.rejected)
    assert [record.t for record in accepted] == solution.t[:-1].tolist()
    np.testing.assert_allclose([record.t + record.h for record in accepted], solution.t[1:], rtol=1e-15)
    assert [(step.t, step.h) for step in solution.path] == [record[:2] for record in accepted]
    for record, following in itertools.pairwise(records):
        if record.accepted:
            assert record.error_ratio <= 1 and following.t != record.t
        else:
            assert record.error_ratio >= 1 and following.t == record.t and abs(following.h) < abs(record.h)
    assert all(type(record) is StepRecord and (record.h > 0) == (ends[1] > 0) and type(record.accepted) is bool
               for record in records)
    assert stats.nfev == len(field.calls)


def test_fixed_steps_have_no_error_ratio():
    """nan, and every one is accepted."""
    records = solve(swing, start(()), [0.0, 1.0], THETA, step=0.25).steps
    assert [(record.t, record.h, record.accepted) for record in records] == [(i / 4, 0.25, True) for i in range(4)]
    assert all(math.isnan(record.error_ratio) for record in records)


def test_repr_names_method_ends_and_cost():
    """One line: method, ends, shape, cost."""
    solution = solve(swing, start((2,)), [1.0, -0.5], THETA, method="rk4", step=0.5)
    expected = "Solution(rk4, t from 1 to -0.5, zs of shape (2, 2), nfev 12, nvjp 0, accepted 3, rejected 0)"
    assert repr(solution) == expected


# ---------------------------------------------------------------- what belongs to whom


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step": 0.5}, {"controller": "torchdiffeq"}], ids=str)
def test_solution_keeps_nothing_of_the_callers(options):
    """Changing z0, ts and theta afterwards changes no solution, and writing into zs changes neither
    z0 nor solution(t)."""
    z0, ts, theta = start((2, 3)), np.array([0.0, 1.0, 2.0]), {"a": np.array([THETA]), "b": [np.array(1.0), 2]}
    solution = solve(lambda z, t, theta: theta["a"] * theta["b"][0] * np.cos(t) * z, z0, ts, theta, **options)
    kept = solution.zs.copy()
    z0[:], ts[:], theta["a"][:], theta["b"][0][...] = 9, 9, 9, 9
    np.testing.assert_array_equal(solution.zs, kept)
    np.testing.assert_array_equal(solution.zs[0], start((2, 3)))
    assert solution.ts.tolist() == [0, 1, 2] and solution.theta["a"].tolist() == [THETA] and solution.theta["b"][0] == 1
    np.testing.assert_array_equal(solution([0.0, 1.0, 2.0]), kept)  # in fixed steps this still evaluates f
    solution.zs[:] = -1
    np.testing.assert_array_equal(solution([0.0, 1.0, 2.0]), kept)
    np.testing.assert_array_equal(solution.z0, start((2, 3)))
    solution.t[:] = 5
    assert solution.t[0] == 0


def test_the_field_cannot_write_into_the_state_and_may_reuse_its_answer():
    """z is read-only; a field that returns the same buffer every time gives the same solution."""
    def writes(z, t, theta):
        z *= 2
        return z

    for z0 in (start((2,)), start((2, 3)), start(())):
        with pytest.raises(ValueError, match="read-only"):
            solve(writes, z0, [0.0, 1.0])
        buffer = np.empty_like(z0)

        def reuses(z, t, theta, buffer=buffer):
            buffer[...] = swing(z, t, theta)
            return buffer

        for options in ({}, {"method": "rk4", "step": 0.3}):
            np.testing.assert_array_equal(solve(reuses, z0, TIMES, THETA, **options).zs,
                                          solve(swing, z0, TIMES, THETA, **options).zs)


def test_layout_of_z0_does_not_matter():
    """A transposed or strided z0, a list, ts as a range or integers: the same solution."""
    z0 = start((2, 3))
    expected = solve(swing, z0, [0.0, 1.0], THETA).zs
    for same in (np.asfortranarray(z0), np.repeat(z0, 2, axis=1)[:, ::2], z0.tolist()):
        np.testing.assert_array_equal(solve(swing, same, range(2), THETA).zs, expected)
    np.testing.assert_array_equal(solve(swing, z0, np.array([0, 1]), THETA).zs, expected)


@pytest.mark.parametrize("dz", [lambda z: -float(z), lambda z: -z.item(), lambda z: np.float64(-z)])
def test_a_scalar_state_may_answer_with_a_number(dz):
    """z0 of shape (): f may return a Python or NumPy number."""
    solution = solve(lambda z, t, theta: dz(z), 1.0, [0.0, 1.0])
    np.testing.assert_allclose(solution.zs, [1, math.exp(-1)], rtol=1e-5)


def test_big_numbers_raise_no_warnings():
    """Overflow in a trial step is the solver's business; the caller's floating point settings are as before."""
    before = np.geterr()
    with pytest.raises(SolverError):
        solve(lambda z, t, theta: z**5, np.array([10.0]), [0.0, 1.0])
    assert np.geterr() == before


def test_max_steps_is_a_limit_not_a_count():
    """Exactly as many attempts as needed are enough."""
    for options in ({}, {"method": "euler", "step": 0.1}):
        needed = len(solve(swing, start(()), [0.0, 3.0], THETA, **options).steps)
        assert len(solve(swing, start(()), [0.0, 3.0], THETA, max_steps=needed, **options).steps) == needed
        with pytest.raises(SolverError, match=f"max_steps = {needed - 1} "):
            solve(swing, start(()), [0.0, 3.0], THETA, max_steps=needed - 1, **options)


# ---------------------------------------------------------------- first_step, max_step, a tolerance for each element


@pytest.mark.parametrize("method, scipys", [("dopri5", "RK45"), ("bosh3", "RK23")])
@pytest.mark.parametrize("how", [{"first_step": 0.01}, {"max_step": 0.13}, {"first_step": 0.02, "max_step": 0.2},
                                 {"rtol": np.array([1e-3, 1e-7])}, {"atol": np.array([1e-2, 1e-8]), "rtol": 1e-5}])
def test_steps_are_scipys_with_each_option(method, scipys, how):
    def f(z, t, theta=()):
        return np.stack([z[1], (1 - z[0] ** 2) * z[1] - z[0] + np.sin(t)])
    ours = solve(f, np.array([2.0, 0.0]), [0, 3.0], method=method, **how)
    theirs = solve_ivp(lambda t, z: f(z, t), (0, 3.0), [2.0, 0.0], method=scipys,
                       **{"rtol": 1e-6, "atol": 1e-9, **how})
    np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-9)
    np.testing.assert_allclose(ours.zs[-1], theirs.y[:, -1], rtol=1e-9)
    if "max_step" in how:
        assert np.diff(ours.t).max() <= how["max_step"] * (1 + 1e-12)


def test_tolerances_broadcast_against_z0_and_are_refused_where_they_do_not():
    def f(z, t, theta):
        return np.cos(z * np.array([1.0, 2.0, 5.0]))
    z0 = np.ones((2, 3))
    spread = solve(f, z0, [0, 1.0], rtol=np.array([1e-2, 1e-4, 1e-6]), atol=np.full((2, 1), 1e-6))
    same = solve(f, z0, [0, 1.0], rtol=np.tile([1e-2, 1e-4, 1e-6], (2, 1)), atol=1e-6)
    np.testing.assert_array_equal(spread.t, same.t)
    for bad, told in ((np.ones(2), "broadcast against z0's shape"), (np.array([1e-3, 0, 1]), "must be positive, got 0"),
                      (np.array([1e-3, np.nan, 1]), "finite")):
        with pytest.raises(ValueError, match=told):
            solve(f, z0, [0, 1.0], rtol=bad)
    with pytest.raises(ValueError, match="the way back has other states: give rtol and atol"):
        adjoint(f, spread, np.ones((2, 2, 3)), mode="backsolve")
    adjoint(f, spread, np.ones((2, 2, 3)), mode="backsolve", rtol=1e-5, atol=1e-7)
    adjoint(f, spread, np.ones((2, 2, 3)), mode="discrete")


def test_options_of_adaptive_steps_are_refused_with_step():
    for how in ({"first_step": 0.1}, {"max_step": 0.1}):
        with pytest.raises(ValueError, match="are of adaptive steps"):
            solve(lambda z, t, theta: -z, np.ones(2), [0, 1.0], step=0.1, **how)
    for name, bad in (("first_step", 0), ("first_step", "a"), ("max_step", -1), ("max_step", None)):
        with pytest.raises(ValueError, match=name):
            solve(lambda z, t, theta: -z, np.ones(2), [0, 1.0], **{name: bad})


# ---------------------------------------------------------------- float32 time


def test_a_float32_field_far_from_0_is_warned_of_and_right_near_it():
    seen = []

    def f(z, t, theta):
        seen.append(float(t))
        return np.cos(t - np.float32(1e9)) + 0 * z
    with pytest.warns(TimeWarning, match=r"hardly more than 64, to which the field sees t rounded .* float32"):
        solve(f, np.ones(2, np.float32), [1e9, 1e9 + 100], method="rk4", step=10.0)
    assert len(set(seen)) <= 4  # what the warning is about
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(f, np.ones(2), [1e9, 1e9 + 100], method="rk4", step=10.0)
        solve(f, np.ones(2, np.float32), [0.0, 100.0], method="rk4", step=10.0)
        solve(f, np.ones(2, np.float32), [1e9, 1e9 + 1e5], method="rk4", step=1e4)


def test_a_step_too_small_tells_the_least_of_several_tolerances():
    with pytest.raises(SolverError, match=r"\(rtol 1e-06, atol 1e-09 at the least\)"):
        solve(lambda z, t, theta: z**2, np.ones(2), [0, 2.0], atol=np.array([1e-6, 1e-9]))


def test_steps_that_no_float64_tells_apart():
    """The spacing at 1e17 is 16: adaptive steps are a SolverError there, fixed ones would stand still."""
    with pytest.warns(TimeWarning, match=r"steps of 1 are hardly more than 16, .* float64. Count t from nearer to 0$"):
        solve(lambda z, t, theta: -z, np.ones(2), [1e17, 1e17 + 160], method="euler", step=1.0)
    with pytest.raises(SolverError, match="step size fell below the spacing"):
        solve(lambda z, t, theta: -z, np.ones(2), [1e17, 1e17 + 160])
