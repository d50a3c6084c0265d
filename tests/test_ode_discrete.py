"""The mode "discrete" is the exact gradient of what the solver computed, on its frozen grid:
against a solver written again."""
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refvdm.autodiff import grad, ravel
from refvdm.ode import METHODS, MLPField, adjoint, solve


def replay(f, z0, ts, theta, solution):
    """The solution's own arithmetic once more, in plain loops over fractions, for complex numbers: values at every ts.

    ts[0] moves the first node and ts[-1] the last one if it is one; the other nodes stay.
    An output is in the step where it was.
    """
    tableau, nodes, given = METHODS[solution.options.method], solution.t.astype(complex), solution.ts
    ends = len(nodes) > 1 and solution.t[-1] == given[-1]
    nodes[0] = ts[0]
    if ends:
        nodes[-1] = ts[-1]
    sign, zs, y = np.sign(solution.t[-1] - solution.t[0]), {}, np.asarray(z0, complex)
    for n in range(len(nodes) - 1):
        t, h, k = nodes[n], nodes[n + 1] - nodes[n], []
        for a, c in zip(tableau.a, tableau.c):
            y_i = y
            for a_ij, k_j in zip(a, k):
                y_i = y_i + h * float(a_ij) * k_j
            k.append(f(y_i, t + float(c) * h, theta))
        y_new = y
        for b_i, k_i in zip(tableau.b, k):
            y_new = y_new + h * float(b_i) * k_i
        k.append(f(y_new, t + h, theta))

        def hermite(x, y=y, y_new=y_new, h=h, k=k):
            left = (1 + 2 * x) * (1 - x) ** 2 * y + x * (1 - x) ** 2 * h * k[0]
            return left + x**2 * (3 - 2 * x) * y_new + x**2 * (x - 1) * h * k[-1]

        for i, time in enumerate(given):
            inside = sign * (time - solution.t[n]) > 0 or n == 0
            if i == 0 or not inside or sign * (time - solution.t[n + 1]) > 0 or i in zs:
                continue
            x = (ts[i] - t) / h
            zs[i] = hermite(x)
            if tableau.middle:
                middle = y + h * sum(float(m) * k_i for m, k_i in zip(tableau.middle, k))
                zs[i] = zs[i] + 16 * (x * (1 - x)) ** 2 * (middle - hermite(0.5))
            if ends and n == len(nodes) - 2 and i == len(given) - 1:
                zs[i] = y_new
        y = y_new
    zs[0] = np.asarray(z0, complex)
    return np.stack([zs[i] for i in range(len(given))])


def agrees_with_the_replay(f, solution, g, tolerance=1e-10):
    """dL/dts one by one, dL/dz0 and dL/dtheta in random directions and in a few single elements."""
    got, rng = adjoint(f, solution, g, mode="discrete"), np.random.default_rng(0)
    z0, ts = solution.z0, solution.ts
    theta, unravel = ravel(solution.theta)

    def slope(dz=0, dts=0, dtheta=0):
        real, imaginary = unravel(theta), unravel(theta * 0 + dtheta)
        complex_theta = {name: a + 1e-30j * b for (name, a), b in zip(real.items(), imaginary.values())}
        zs = replay(f, z0 + 1e-30j * dz, ts + 1e-30j * dts, complex_theta, solution)
        return np.sum(g * zs.imag) / 1e-30

    z = replay(f, z0, ts, unravel(theta), solution)
    np.testing.assert_allclose(solution.zs, z.real, rtol=1e-10, atol=1e-12)
    for i in range(len(ts) if solution.options.step is None else 0):  # with step= the grid moves
        expected = slope(dts=np.eye(len(ts))[i])
        error = abs(got.ts[i] - expected)
        message = f"dL/dts[{i}]: expected {expected}, got {got.ts[i]}"
        assert error <= tolerance * (np.abs(got.ts).max() + 1e-3), message
    theta_bar = ravel(got.theta)[0]
    directions = [rng.standard_normal(theta.shape), rng.standard_normal(theta.shape),
                  *np.eye(theta.size)[rng.integers(theta.size, size=2)]]
    for d in directions:
        assert abs(theta_bar @ d - slope(dtheta=d)) <= tolerance * (np.abs(theta_bar * d).sum() + 1e-3)
    for d in (rng.standard_normal(z0.shape), np.arange(z0.size).reshape(z0.shape) == 0):
        assert abs(np.sum(got.z0 * d) - slope(dz=d)) <= tolerance * np.abs(got.z0 * d).sum() + 1e-14
    return got


def random_problem(shape, time, seed):
    field, rng = MLPField((shape[-1], 3, shape[-1]), time=True), np.random.default_rng(seed)
    theta = {k: v + 0.5 * rng.standard_normal(v.shape) for k, v in field.init(rng).items()}
    return (lambda z, t, theta: field(z, t, theta) * np.cos(time * t)), rng.standard_normal(shape), theta, rng


fixed = st.tuples(st.sampled_from([m for m in METHODS]), st.just("scipy"), st.sampled_from([0.15, 0.2, 0.6]),
                  st.just(1e-6))
adaptive = st.tuples(st.sampled_from(["bosh3", "dopri5"]), st.sampled_from(["scipy", "torchdiffeq", "jax", "diffrax"]),
                     st.none(), st.sampled_from([1e-2, 1e-3, 1e-5]))


@given(st.sampled_from([(2,), (1,), (2, 3), (2, 1, 2)]), fixed | adaptive,
       st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.77]), max_size=3), st.booleans(), st.integers(0, 2**16))
@example((2,), ("dopri5", "jax", None, 1e-4), [0.3, 0.3], False, 0)
@example((2,), ("rk4", "scipy", 0.2, 1e-4), [0.3, 1.0], True, 1)
@example((2,), ("dopri5", "torchdiffeq", None, 1e-4), [1.0], False, 2)
@example((2,), ("bosh3", "diffrax", None, 1e-2), [0, 0.5, 1.0], True, 3)
@example((2,), ("dopri5", "scipy", None, 1e-2), [0, 1.0], False, 4)
def test_is_the_gradient_of_a_replay_on_the_frozen_grid(shape, how, inner, backward, seed):
    """Over random networks, shapes, tolerances, both directions of time, fixed and adaptive steps,
    all policies, equal times."""
    f, z0, theta, rng = random_problem(shape, 1.3, seed)
    ts = 0.2 + 1.4 * np.array(sorted([0, *inner, 1]))
    method, controller, step, rtol = how
    solution = solve(f, z0, ts[::-1] if backward else ts, theta,
                     method=method, controller=controller, step=step, rtol=rtol)
    agrees_with_the_replay(f, solution, rng.standard_normal(solution.zs.shape))


@pytest.mark.parametrize("controller", ["scipy", "torchdiffeq", "jax", "diffrax"])
@pytest.mark.parametrize("way", [1, -1])
def test_outputs_at_the_nodes_themselves(controller, way):
    """A ts that is exactly an inner node of the grid is the end of the step before it;
    policies that run over the end stop nowhere."""
    f, z0, theta, rng = random_problem((2,), 0.9, 3)
    first = solve(f, z0, [0, way * 2.0], theta, rtol=1e-4, controller=controller)
    ts = [0, *first.t[2:4], way * 2.0]
    solution = solve(f, z0, ts, theta, rtol=1e-4, controller=controller)
    assert set(ts[:3]) <= set(solution.t) and (solution.t[-1] == way * 2) == (controller in ("scipy", "diffrax"))
    agrees_with_the_replay(f, solution, rng.standard_normal((4, 2)))


@pytest.mark.parametrize("controller", ["torchdiffeq", "jax"])
def test_one_step_that_runs_far_over_the_end(controller):
    """All outputs inside the first step, before, between and after none."""
    f, z0, theta, rng = random_problem((2,), 1.1, 5)
    solution = solve(f, z0, [0.3, 0.3, 0.301, 0.302, 0.303], theta, rtol=1e-2, atol=1.0, controller=controller)
    assert len(solution.path) == 1 and solution.t[-1] > 0.303
    agrees_with_the_replay(f, solution, rng.standard_normal((5, 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", [1, -1])
def test_one_step_of_every_method(method, way):
    """One step, ends only: h is the difference of the two times, so dL/dts[0] has the step's length in it."""
    f, z0, theta, rng = random_problem((3,), 1.7, 1)
    solution = solve(f, z0, [0.4, 0.4 + 0.5 * way], theta, method=method, step=0.5)
    assert len(solution.path) == 1
    agrees_with_the_replay(f, solution, rng.standard_normal((2, 3)), 1e-12)


@given(st.sampled_from(["euler", "midpoint", "rk4", "dopri5"]), st.sampled_from([0.17, 0.4, 2.0]),
       st.lists(st.sampled_from([0.13, 0.5, 0.77]), max_size=3, unique=True), st.booleans(), st.integers(0, 2**16))
def test_with_step_the_grid_moves_with_ts(method, step, inner, backward, seed):
    """Every dL/dts[i] is the slope of L(solve(..., ts, step=)) itself, however coarse; a frozen grid would be off by
    as much as its steps are long."""
    f, z0, theta, rng = random_problem((2,), 1.7, seed)
    ts = 0.2 + 1.3 * np.array(sorted([0, *inner, 1]))
    ts = ts[::-1] if backward else ts
    g = rng.standard_normal((len(ts), 2))

    def loss(ts):
        return np.sum(g * solve(f, z0, ts, theta, method=method, step=step).zs)

    got = adjoint(f, solve(f, z0, ts, theta, method=method, step=step), g, mode="discrete")
    h = 1e-5 * np.eye(len(ts))
    expected = [(8 * (loss(ts + e) - loss(ts - e)) - loss(ts + 2 * e) + loss(ts - 2 * e)) / 12e-5 for e in h]
    np.testing.assert_allclose(got.ts, expected, rtol=1e-8, atol=1e-8)


def test_with_step_equal_ts_give_no_step():
    f, z0, theta, rng = random_problem((2,), 1.7, 5)
    ts, g = [0, 0.6, 0.6, 1.0], rng.standard_normal((4, 2))
    got = adjoint(f, solve(f, z0, ts, theta, method="rk4", step=0.3), g, mode="discrete")
    once = adjoint(f, solve(f, z0, [0, 0.6, 1.0], theta, method="rk4", step=0.3), [g[0], g[1] + g[2], g[3]],
                   mode="discrete")
    np.testing.assert_allclose(got.z0, once.z0, rtol=1e-13)
    np.testing.assert_allclose(got.ts[1] + got.ts[2], once.ts[1], rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 6])
def test_a_weight_tied_residual_network(depth):
    """z_{l+1} = z_l + f(z_l, l, theta) is Euler with h = 1 (13.6):
    the discrete gradient is the one through the loop, to rounding."""
    f, z0, theta, rng = random_problem((2, 3), 0.9, 2)
    g = rng.standard_normal((depth + 1, 2, 3))

    def loss(pair):
        z, theta = pair
        L = np.sum(g[0] * z)
        for layer in range(depth):
            z = z + f(z, float(layer), theta)
            L = L + np.sum(g[layer + 1] * z)
        return L

    solution = solve(f, z0, np.arange(depth + 1), theta, method="euler", step=1.0)
    assert solution.stats.accepted == depth
    z0_bar, theta_bar = grad(loss)((z0, theta))
    got = adjoint(f, solution, g, mode="discrete")
    np.testing.assert_allclose(got.z0, z0_bar, rtol=1e-13, atol=1e-14)
    for name in theta:
        np.testing.assert_allclose(got.theta[name], theta_bar[name], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("h", [0.5, 0.1])
def test_other_modes_differ_from_it_by_the_order_of_the_method(h):
    """"interpolated" misses what was computed by O(h) under Euler; "forward" is Euler's own derivative,
    so the same to rounding."""
    f, z0, theta, rng = random_problem((2,), 1.3, 7)
    g = rng.standard_normal((2, 2))
    solution = solve(f, z0, [0, 1], theta, method="euler", step=h)
    exact, forward, other = (ravel(adjoint(f, solution, g, mode=mode).theta)[0]
                             for mode in ("discrete", "forward", "interpolated"))
    np.testing.assert_allclose(forward, exact, rtol=1e-12, atol=1e-13)
    assert 0.01 * h < np.abs(other - exact).max() / np.abs(exact).max() < 3 * h


def test_pulls_back_no_stage_that_nothing_depends_on():
    """g = 0 everywhere: no pullback at all; euler's last stage, the slope at the end,
    only where an output is interpolated."""
    f, z0, theta, _ = random_problem((2,), 1.3, 7)
    solution = solve(f, z0, [0, 0.4, 1], theta, method="euler", step=0.2)
    zero, one = np.zeros((3, 2)), np.array([[0, 0], [0, 0], [1.0, 1]])
    assert adjoint(f, solution, zero, mode="discrete").stats.nvjp == 0
    assert adjoint(f, solution, one, mode="discrete").stats == (0, 5, 5, 0)
    assert adjoint(f, solution, one[::-1], mode="discrete").stats.nvjp == 0
    assert adjoint(f, solution, one[[0, 2, 1]], mode="discrete").stats.nvjp <= 3


def test_gradient_is_linear_in_zs_bar_and_the_solution_stays_as_it_was():
    """Bit-equal on a second call; nothing in the solution changes but the slope at the end that
    completes its interpolant."""
    f, z0, theta, rng = random_problem((2,), 1.3, 8)
    g, other = rng.standard_normal((2, 3, 2))
    solution = solve(f, z0, [0, 0.4, 1], theta, method="rk4", step=0.3)
    zs, path = solution.zs.copy(), [(step.y.copy(), step.y_new.copy()) for step in solution.path]
    a, b, both, again = (adjoint(f, solution, bar, mode="discrete") for bar in (g, other, 2 * g - other, g))
    assert np.array_equal(a.z0, again.z0) and np.array_equal(a.ts, again.ts)
    assert np.array_equal(a.theta["W1"], again.theta["W1"])
    np.testing.assert_allclose(both.z0, 2 * a.z0 - b.z0, rtol=1e-12)
    np.testing.assert_allclose(both.ts, 2 * a.ts - b.ts, rtol=1e-11)
    assert np.array_equal(solution.zs, zs)
    assert all(np.array_equal(step.y, y) and np.array_equal(step.y_new, y_new)
               for step, (y, y_new) in zip(solution.path, path))


def test_float32_equals_float64_on_the_same_steps():
    """With fixed steps both walk the same grid; float32 stays float32 in every stage."""
    f, z0, theta, rng = random_problem((2,), 1.3, 9)
    low = {k: v.astype(np.float32) for k, v in theta.items()}
    g = rng.standard_normal((4, 2))
    for method in ("euler", "bosh3", "dopri5"):
        wide, narrow = (adjoint(f, solve(f, z, [0, 0.33, 0.5, 1.1], p, method=method, step=0.2), g, mode="discrete")
                        for z, p in ((z0, theta), (z0.astype(np.float32), low)))
        assert narrow.z0.dtype == narrow.theta["W1"].dtype == np.float32
        np.testing.assert_allclose(narrow.z0, wide.z0, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(narrow.ts, wide.ts, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(narrow.theta["W2"], wide.theta["W2"], rtol=1e-4, atol=1e-5)


def test_a_moving_grid_far_from_0_walks_back_over_every_step_once():
    """At t = 1e16 steps of 1 are half of what separates neighbouring times, and their middles fall on the ts: the
    gradient by theta of z exp(-theta n h) is still that of all n steps."""
    def f(z, t, theta):
        return -theta * z
    found = []
    for start in (0.0, 1e16):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solution = solve(f, np.ones(1), start + np.arange(0.0, 41.0, 4.0), np.array(0.1), method="rk4", step=1.0)
        zs_bar = np.zeros_like(solution.zs)
        zs_bar[-1] = 1
        back = adjoint(f, solution, zs_bar, mode="discrete")
        assert back.stats.accepted == len(solution.path)
        found.append(back.stats.nvjp / len(solution.path))
    assert found[0] == found[1] == 4
