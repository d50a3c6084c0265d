"""A z0 that is a tree: the same numbers as of one vector, in the tree's form, in every mode. And fields written with
t first."""
import copy

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from refvdm.autodiff import check_vjp, grad, vjp
from refvdm.ode import Solution, SolverError, TreeSolution, adjoint, gradient_report, odeint, solve
from refvdm.ode.state import TreeState, is_tree

THETA = {"k": np.array(1.3), "c": np.array([0.1, 0.2])}
Z0 = {"x": np.array([1.0, -0.5]), "more": [np.array(0.3), (np.ones((2, 2)),)]}
TS = [0.0, 0.4, 1.5]


def spring(z, t, theta):
    """x'' = -k x - c x' and a matrix that turns with them."""
    x, (v, (M,)) = z["x"], z["more"]
    return {"x": v * theta["c"] - x, "more": [-theta["k"] * np.sum(x) * np.cos(t), (-M @ M + v,)]}


def flat(z, t, theta):
    """The same, of (7,)."""
    x, v, M = z[:2], z[2], np.reshape(z[3:], (2, 2))
    return np.concatenate([v * theta["c"] - x, np.reshape(-theta["k"] * np.sum(x) * np.cos(t), (1,)),
                           np.ravel(-M @ M + v)])


FLAT = np.concatenate([Z0["x"], [0.3], np.ones(4)])


def parts(rows):
    """(..., 7) as the leaves have it."""
    lead = rows.shape[:-1]
    return rows[..., :2], rows[..., 2], rows[..., 3:].reshape(*lead, 2, 2)


def leaves(tree):
    return tree["x"], tree["more"][0], tree["more"][1][0]


def same(tree, rows):
    for leaf, expected in zip(leaves(tree), parts(rows)):
        assert leaf.shape == expected.shape
        np.testing.assert_allclose(leaf, expected, rtol=1e-12, atol=1e-13)


def test_a_tree_is_solved_as_its_vector():
    tree, vector = solve(spring, Z0, TS, THETA), solve(flat, FLAT, TS, THETA)
    assert isinstance(tree, TreeSolution) and isinstance(tree.flat, Solution)
    assert list(tree.zs) == ["x", "more"] and type(tree.zs["more"][1]) is tuple
    same(tree.zs, vector.zs)
    same(tree.z0, FLAT)
    same(tree(0.7), vector(0.7))
    same(tree([0.1, 0.2, 1.5]), vector([0.1, 0.2, 1.5]))
    assert tree.stats == vector.stats and np.all(tree.t == vector.t) and repr(tree) == f"{vector!r} of a tree"
    same(copy.deepcopy(tree).zs, vector.zs)
    for options in ({"method": "rk4", "step": 0.1}, {"rtol": 1e-3, "first_step": 0.01, "max_step": 0.2}):
        same(solve(spring, Z0, TS, THETA, **options).zs, solve(flat, FLAT, TS, THETA, **options).zs)


@pytest.mark.parametrize("mode", ["backsolve", "interpolated", "discrete", "forward"])
def test_gradients_are_trees(mode):
    tree, vector = solve(spring, Z0, TS, THETA), solve(flat, FLAT, TS, THETA)
    rows = np.random.default_rng(0).standard_normal((3, 7))
    x, v, M = parts(rows)
    found = adjoint(spring, tree, {"x": x, "more": [v, (M,)]}, mode=mode)
    expected = adjoint(flat, vector, rows, mode=mode)
    same(found.z0, expected.z0)
    np.testing.assert_allclose(found.ts, expected.ts, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.theta["c"], expected.theta["c"], rtol=1e-10)
    assert (found.trajectory is None) == (mode in ("discrete", "forward"))
    if found.trajectory:
        same(found.trajectory.a, expected.trajectory.a)
        same(found.trajectory.z, expected.trajectory.z)
    assert (found.reconstruction_error is None) == (mode != "backsolve")
    if mode == "backsolve":
        same(found.reconstruction_error, expected.reconstruction_error)


def test_the_report_of_a_tree_is_that_of_its_vector():
    rows = np.random.default_rng(0).standard_normal((3, 7))
    x, v, M = parts(rows)
    report = gradient_report(spring, Z0, TS, THETA, {"x": x, "more": [v, (M,)]}, rtol=1e-4)
    expected = gradient_report(flat, FLAT, TS, THETA, rows, rtol=1e-4)
    assert report.modes["backsolve"].error == pytest.approx(expected.modes["backsolve"].error, rel=1e-6)
    np.testing.assert_allclose(report.exact.z0, expected.exact.z0, rtol=1e-10)


def test_odeint_of_a_tree_inside_a_gradient():
    def loss(z0, theta, ts):
        zs = odeint(spring, z0, ts, theta, method="rk4", step=0.3)
        return sum(np.sum(np.sin(leaf)) for leaf in leaves(zs))
    check_vjp(loss, Z0, THETA, np.array(TS))
    z0_bar = grad(loss)(Z0, THETA, np.array(TS))
    assert list(z0_bar) == ["x", "more"] and z0_bar["more"][1][0].shape == (2, 2)
    # one leaf a Tensor, the others constants; and a tuple of vectors
    check_vjp(lambda x: odeint(spring, {"x": x, "more": Z0["more"]}, TS, THETA, rtol=1e-9, atol=1e-11)["x"], Z0["x"])
    zs, _ = vjp(lambda x: odeint(lambda z, t, theta: (z[1], -z[0]), (x, 2 * x), [0, 1.0]), np.array([1.0]))
    np.testing.assert_allclose([zs[0][1, 0], zs[1][1, 0]], [np.cos(1) + 2 * np.sin(1), 2 * np.cos(1) - np.sin(1)],
                               rtol=1e-5)


def test_tolerances_for_every_element_or_leaf_as_scipy_has_them():
    atol = {"x": np.array([1e-3, 1e-8]), "more": [1e-5, (np.full((1, 2), 1e-6),)]}
    tree = solve(spring, Z0, TS, THETA, rtol=1e-5, atol=atol)
    rows = np.array([1e-3, 1e-8, 1e-5, 1e-6, 1e-6, 1e-6, 1e-6])
    same(tree.zs, solve(flat, FLAT, TS, THETA, rtol=1e-5, atol=rows).zs)
    theirs = solve_ivp(lambda t, z: flat(z, t, THETA), (0, 1.5), FLAT, rtol=1e-5, atol=rows)
    np.testing.assert_array_equal(tree.t, theirs.t)
    zs = odeint(spring, Z0, TS, THETA, rtol=1e-5, atol=atol)
    same(zs, solve(flat, FLAT, TS, THETA, rtol=1e-5, atol=rows).zs)
    for bad in ({"x": 1e-3}, {"x": np.ones(3), "more": [1e-5, (1e-3,)]}):
        with pytest.raises(ValueError, match="solve: atol must be a number, or a tree like z0 whose leaves broadcast"):
            solve(spring, Z0, TS, THETA, atol=bad)


def test_float32_and_what_is_no_tree():
    single = {"x": np.float32([1.0, -0.5]), "more": [np.float32(0.3), (np.ones((2, 2), np.float32),)]}
    theta = {"k": np.float32(1.3), "c": np.float32([0.1, 0.2])}
    zs = solve(spring, single, TS, theta).zs
    assert all(leaf.dtype == np.float32 for leaf in leaves(zs))
    for z0, tree in (([1.0, 2.0], False), ([[1.0], [2.0]], False), (3.0, False), ([np.array(1.0), 2.0], False),
                     (({"a": 1.0},), True), ([np.ones(2), 1.0], True), ({}, True), ((), False)):
        assert is_tree(z0) is tree
    assert solve(lambda z, t, theta: -z, [np.float64(1.0), np.array(2.0)], [0, 1]).zs.shape == (2, 2)


def test_refused():
    with pytest.raises(TypeError, match=r"solve: z0 must hold floats only, got 3 at \['n'\]; cast"):
        solve(spring, {"x": np.ones(2), "n": 3}, TS)
    with pytest.raises(TypeError, match="solve: z0 must hold floats of one dtype, got float32, float64"):
        solve(spring, [np.ones(2), np.ones(2, np.float32)], TS)
    with pytest.raises(ValueError, match="odeint: z0 must hold at least one number, got {}"):
        odeint(spring, {}, TS)
    with pytest.raises(TypeError, match="inside vjp or grad use refvdm.ode.odeint"):
        grad(lambda x: np.sum(solve(spring, {"x": x}, TS).zs["x"]))(np.ones(2))
    with pytest.raises(ValueError, match=r"the field returns, called as f\(z, t, theta\), z first, must be a tree like "
                                         r"z0: trees differ at the root: expected a dict with keys \['x'\]"):
        solve(lambda z, t, theta: -z["x"], {"x": np.ones(2)}, TS)
    with pytest.raises(ValueError, match=r"must have shape \(2,\) at \['x'\], as z0, got \(1,\)"):
        solve(lambda z, t, theta: {"x": z["x"][:1]}, {"x": np.ones(2)}, TS)
    solution = solve(lambda z, t, theta: {"x": -z["x"]}, {"x": np.ones(2)}, TS)
    with pytest.raises(ValueError, match=r"zs_bar = dL/dzs must have shape \(3, 2\) at \['x'\], as z0, got \(2,\)"):
        adjoint(lambda z, t, theta: {"x": -z["x"]}, solution, {"x": np.ones(2)})
    with pytest.raises(SolverError, match="step size fell below") as caught:
        solve(lambda z, t, theta: {"x": z["x"] ** 2}, {"x": np.ones(2)}, [0, 0.5, 3.0])
    assert caught.value.solution.zs["x"].shape == (2, 2)
    assert TreeState("solve", {"x": 2.0}).flat.shape == (1,)


# ---------------------------------------------------------------- t before z


@pytest.mark.parametrize("z0, f", [
    (np.ones(2), lambda s, z, theta: np.array([[0.0, 1.0], [-1.0, 0.0]]) @ z),  # raises: s is a vector, z a number
    (np.ones(2), lambda s, z, theta: np.stack([z[1], -z[0]])),
    (np.ones((2, 3)), lambda s, z, theta: z.T.sum(1) * np.ones((2, 3)) if z.ndim == 3 else z[:, ::-1]),
    ({"x": np.ones(2)}, lambda s, z, theta: {"x": -z["x"]}),
])
def test_a_field_with_t_first_that_raises_is_told(z0, f):
    with pytest.raises(TypeError, match=r"called as f\(z, t, theta\), z first, but raises .* written f\(t, z, theta\)"):
        solve(f, z0, [0.0, 1.0])


def test_a_field_with_t_first_by_its_shape_or_its_name():
    with pytest.raises(ValueError, match=r"got shape \(\); it is called as f\(z, t, theta\), z first"):
        solve(lambda s, z, theta: -z, np.ones(2), [0.0, 1.0])
    for z0 in (np.ones(2), {"x": np.ones(2)}):  # here no shape tells: t z = z t
        for call in (solve, odeint):
            with pytest.raises(TypeError, match=r"has t as its first parameter and seems to be written f\(t, z, "):
                call(lambda t, z, theta: t * z, z0, [0.0, 1.0])


def test_errors_of_the_fields_own_are_its_own():
    def wrong(z, t, theta):
        return theta["missing"] * z
    with pytest.raises(KeyError, match="missing"):
        solve(wrong, np.ones(2), [0.0, 1.0], {})

    def later(z, t, theta):
        if t > 0.5:
            raise ValueError("too late")
        return z
    with pytest.raises(ValueError, match="^too late$"):
        solve(later, np.ones(2), [0.0, 1.0])
