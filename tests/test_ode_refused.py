"""What must not pass in silence: gradients that are not finite, cotangents of any size, fields that change theta,
lists of Tensors."""
import numpy as np
import pytest

from refvdm.autodiff import grad
from refvdm.ode import SolverError, adjoint, odeint, solve


@pytest.mark.parametrize("mode", ["backsolve", "interpolated", "discrete", "forward"])
def test_a_gradient_that_is_not_finite_is_an_error(mode):
    """z' = -k sqrt(|z|) from 0: f is finite, its derivative is not."""
    def root(z, t, k):
        return -k * np.sqrt(np.abs(z))

    solution = solve(root, np.array([0.0]), [0.0, 1.0], 1.0)
    with pytest.raises(SolverError, match="not finite") as caught:
        adjoint(root, solution, np.ones((2, 1)), mode=mode)
    assert caught.value.solution is None


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 3.0, 1e9])
def test_interpolated_scales_with_the_loss(scale):
    """The gradient of s L is s times that of L: atol does not see how small the cotangents are."""
    def field(z, t, A):
        return np.tanh(z @ A) * np.cos(t)

    A = np.array([[-0.5, 2.0], [-2.0, -0.5]])
    solution = solve(field, np.array([1.0, 0.0]), [0.0, 1.0, 3.0], A)
    one, many = (adjoint(field, solution, np.full((3, 2), s), mode="interpolated") for s in (1.0, scale))
    np.testing.assert_allclose(many.theta / scale, one.theta, rtol=2e-6)
    np.testing.assert_allclose(many.ts / scale, one.ts, rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(many.trajectory.a[0] / scale, one.trajectory.a[0], rtol=1e-14)
    np.testing.assert_allclose(many.trajectory.a_theta[-1] / scale, one.trajectory.a_theta[-1], rtol=2e-6)


def test_a_field_cannot_change_theta():
    def greedy(z, t, theta):
        theta["A"] *= 0.9
        return z @ theta["A"]

    with pytest.raises(ValueError, match="read-only"):
        solve(greedy, np.ones(2), [0.0, 1.0], {"A": np.eye(2)})


def test_lists_where_arrays_belong_are_named():
    solution = solve(lambda z, t, theta: [z[1], -z[0]], np.array([1.0, 0.0]), [0.0, 1.0])
    with pytest.raises(TypeError, match=r"must return an array, not a list: np.stack"):
        adjoint(lambda z, t, theta: [z[1], -z[0]], solution, np.ones((2, 2)))
    with pytest.raises(TypeError, match="odeint: z0 is a list that holds Tensors"):
        grad(lambda w: np.sum(odeint(lambda z, t, theta: -z, [w[0], w[1]], [0.0, 1.0])))(np.ones(2))
    with pytest.raises(TypeError, match="masked"):
        solve(lambda z, t, theta: -z, np.ma.array([1.0, 5.0], mask=[0, 1]), [0.0, 1.0])


def test_a_failure_of_the_forward_mode_says_so():
    solution = solve(lambda z, t, k: -k * z, np.array([1.0]), [0.0, 1.0], 1.0)
    with pytest.raises(SolverError, match="mode='forward', the variational equation") as caught:
        adjoint(lambda z, t, k: -k * z, solution, np.ones((2, 1)), mode="forward", max_steps=3)
    assert caught.value.solution is None
