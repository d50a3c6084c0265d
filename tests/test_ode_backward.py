"""What the way back takes its steps by, and what it keeps: the augmented state as `solve` would see it."""
import tracemalloc

import numpy as np
import pytest

from refvdm.autodiff import vjp
from refvdm.ode import adjoint, odeint, solve
from refvdm.ode.linearise import LinearisedField

A = np.array([[-0.4, 1.3, 0.2], [-0.9, 0.1, 0.5], [0.3, -0.6, -0.2]])
Z0 = np.array([1.0, -0.5, 0.8])


@pytest.mark.parametrize("size", [1e-7, 0.6, 1.0, 1.999, 2.0, 3e8])
def test_interpolated_steps_are_those_of_the_gradient_of_size_1_to_2(size):
    """z' = A z: a' = -A^T a and a_t' = 0, from [g, -g f] back by solve with g scaled by a power of 2 so that
    max|g| is in [1, 2)."""
    g = size * np.array([1.0, -0.4, 0.2])
    unit = g / 2.0 ** np.floor(np.log2(size))
    options = {"rtol": 1e-4, "atol": 3e-3}
    solution = solve(lambda z, t, theta: A @ z, Z0, [0, 4], **options)
    start = np.array([*unit, -unit @ (A @ solution.zs[-1])])
    alone = solve(lambda y, t, theta: np.array([*(-A.T @ y[:3]), 0]), start, [4, 0], **options)
    got = adjoint(lambda z, t, theta: A @ z, solution, [0 * g, g], mode="interpolated")
    # a step's length follows from an error estimate, a difference in which about 4 of 16 digits are left
    # at rtol 1e-4, and which one BLAS rounds otherwise than another
    np.testing.assert_allclose(got.trajectory.t, alone.t, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(got.z0, alone.zs[-1, :3] * (g[0] / unit[0]), rtol=1e-12)
    doubled = solve(lambda y, t, theta: np.array([*(-A.T @ y[:3]), 0]), 2 * start, [4, 0], **options)
    assert not np.array_equal(doubled.t, alone.t)  # the tolerances do tell sizes apart


@pytest.mark.parametrize(("mode", "n", "size"),
                         [("backsolve", 2000, 2000), ("interpolated", 2000, 2000), ("forward", 50, 2500)])
def test_the_pullback_of_odeint_keeps_no_trajectory(mode, n, size):
    """100 steps over a large state: the peak is a few of its size, not 100 rows of z and a,
    as `adjoint` keeps them, or of dz/dz0."""
    def field(z, t, theta):
        return -z * np.cos(t)

    def peak(f):
        tracemalloc.start()
        try:
            return f() is not None and tracemalloc.get_traced_memory()[1] / (8 * size)
        finally:
            tracemalloc.stop()

    z0, g, how = np.ones(n), np.ones((2, n)), {"method": "euler", "step": 0.01}
    pullback = vjp(lambda z0: odeint(field, z0, [0, 1], gradient=mode, **how), z0)[1]
    assert peak(lambda: pullback(g)) < 50
    if mode != "forward":
        assert peak(lambda: adjoint(field, solve(field, z0, [0, 1], **how), g, mode=mode)) > 200


@pytest.mark.parametrize(("theta", "P"), [((), 0), ({"n": 3, "none": None}, 0), ({"n": 3, "k": 0.5}, 1),
                                          ([np.ones((2, 3)), 2, 0.1], 7)])
def test_the_pullback_of_a_linearised_field_has_P_elements(theta, P):
    """f, a df/dz, a df/dtheta (P,), a df/dt of z' = sin(t) z, P counting the floats of theta:
    none for a theta of constants."""
    z, a = np.array([[0.4, -1.0]]), np.array([2.0, 3.0])
    field = LinearisedField(lambda z, t, theta: np.sin(t) * z, theta, z)
    value, z_bar, theta_bar, t_bar = field.pulled(0.3, z.reshape(-1), a)
    assert field.n_theta == P and theta_bar.shape == (P,) and theta_bar.dtype == np.float64 and not theta_bar.any()
    np.testing.assert_allclose(value, np.sin(0.3) * z[0], rtol=1e-15)
    np.testing.assert_allclose(z_bar, np.sin(0.3) * a, rtol=1e-15)
    np.testing.assert_allclose(t_bar, np.cos(0.3) * (a @ z[0]), rtol=1e-14)


@pytest.mark.parametrize("dtype, size", [(np.float64, np.finfo(float).max), (np.float32, 1e300)])
def test_cotangents_at_the_end_of_the_numbers(dtype, size):
    """The scale of the loss is a power of 2 that exists; what is infinite in z's dtype is refused by name."""
    solution = solve(lambda z, t, k: -k * z, np.array([1.0], dtype), [0.0, 1.0], np.array(0.5, dtype))
    bar = np.array([[0.0], [size]])
    if dtype is np.float32:
        with pytest.raises(ValueError, match="zs_bar = dL/dzs, in float32, must be finite, got inf"):
            adjoint(lambda z, t, k: -k * z, solution, bar, mode="interpolated")
    else:
        result = adjoint(lambda z, t, k: -k * z, solution, bar, mode="interpolated")
        np.testing.assert_allclose(result.z0, size * np.exp(-0.5), rtol=1e-5)
