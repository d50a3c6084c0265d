"""13.7-13.17 as printed fail checks that the corrected forms, which the library implements, pass:
one test per correction."""
import numpy as np
from scipy.integrate import quad, solve_ivp

from refvdm.autodiff import jacobian
from refvdm.ode import adjoint, solve

T0, T1, Z_0, THETA, V = 0.3, 1.9, 1.4, 0.8, 1.3
S = np.sin(T1) - np.sin(T0)
Z_1 = Z_0 * np.exp(THETA * S)
DL_DTHETA = V * Z_1 * S
MODES = ("backsolve", "interpolated", "discrete", "forward")


def f(z, t, theta):
    """One state, one parameter, not autonomous, with a closed form: z(t) = z0 e^(theta (sin t - sin T0))."""
    return theta * np.cos(t) * z


def by_library(**options):
    """The gradients of L = V z(T1)."""
    solution = solve(f, Z_0, [T0, T1], THETA, rtol=1e-10, atol=1e-12)
    return adjoint(f, solution, [0, V], **options)


def backward(minus_bars, a_t=0.0):
    """[z, a, a_theta, a_t] from T1 back to T0, given the last three derivatives as
    minus_bars(a, a_theta, a_t, df/dz, df/dtheta, df/dt)."""
    def rhs(t, y):
        z, *bars = y
        derivatives = THETA * np.cos(t), np.cos(t) * z, -THETA * np.sin(t) * z
        return [f(z, t, THETA), *np.negative(minus_bars(*bars, *derivatives))]

    return solve_ivp(rhs, (T1, T0), [Z_1, V, 0.0, a_t], rtol=1e-11, atol=1e-13).y[:, -1]


def test_13_7_a_residual_network_is_eulers_method_with_h_1():
    """Printed: the solution of 13.6 is dz/dt = f. Corrected: 13.6 is the unit Euler step of dz/dt = f(z, t, theta).

    A weight-tied residual network of depth 4 has the bits of Euler with h = 1;
    the solution of the ODE is something else.
    """
    W = np.random.default_rng(0).standard_normal((3, 3))
    def layer(z, t, W):
        return np.tanh(W @ z) * np.cos(t)
    z0 = np.array([0.5, -1, 0.3])
    network = [z0]
    for t in range(4):
        network.append(network[-1] + layer(network[-1], t, W))
    np.testing.assert_array_equal(solve(layer, z0, np.arange(5), W, method="euler", step=1.0).zs, network)
    assert np.abs(solve(layer, z0, [0, 4], W).zs[-1] - network[-1]).max() > 0.1
    truth = solve(layer, z0, [0, 4], W).zs[-1]
    errors = [np.abs(solve(layer, z0, [0, 4], W, method="euler", step=h).zs[-1] - truth).max() for h in (0.01, 0.005)]
    assert 1.8 < errors[0] / errors[1] < 2.2  # it is the limit of ever more, ever smaller layers


def test_13_8_the_integrand_is_at_z_of_t():
    """Printed: z(T1) = z(T0) + int NN(z(T0), t, theta) dt. Corrected: NN(z(t), t, theta).
    The printed one is a quadrature."""
    solution = solve(f, Z_0, [T0, T1], THETA, rtol=1e-10, atol=1e-12)
    printed = Z_0 + quad(lambda t: f(Z_0, t, THETA), T0, T1)[0]
    corrected = Z_0 + quad(lambda t: f(solution([t])[0], t, THETA), T0, T1, epsabs=1e-11)[0]
    np.testing.assert_allclose([solution.zs[-1], corrected], Z_1, rtol=1e-8)
    np.testing.assert_allclose(printed, Z_0 * (1 + THETA * S), rtol=1e-12)
    assert abs(printed - Z_1) > 0.1


def test_13_9_its_gradient_is_not_the_quadratures():
    """Printed: the loss of z(T0) + int NN(z(T0), t, theta) dt. Corrected: of the solution.
    dL/dz0 = V e^(theta S), not V (1 + theta S)."""
    for mode in MODES:
        got = by_library(mode=mode)
        np.testing.assert_allclose([got.z0, got.theta], [V * np.exp(THETA * S), DL_DTHETA], rtol=1e-7)
        assert abs(V * (1 + THETA * S) - got.z0) > 0.1 and abs(V * Z_0 * S - got.theta) > 0.1


def test_13_13_f_aug_is_the_derivative_of_the_augmented_state():
    """Printed: f_aug = [f, theta, t]. Corrected: [f, 0, 1] = d/dt [z, theta, t].

    Only the corrected one moves [z, theta, t] along a solution, and only its Jacobian has the rows of zeros of 13.14:
    with the printed one's, [a, a_theta, a_t] d f_aug/d[z, theta, t] has the terms a_theta and a_t more,
    and dL/dtheta comes out wrong.
    """
    def printed(x):
        return np.stack([x[1] * np.cos(x[2]) * x[0], x[1], x[2]])
    def corrected(x):
        return np.stack([x[1] * np.cos(x[2]) * x[0], 0 * x[1], 1 + 0 * x[2]])
    x, h = np.array([Z_0, THETA, T0]), 1e-5
    moved = [np.array([solve(f, Z_0, [T0, T0 + e], THETA).zs[-1], THETA, T0 + e]) for e in (h, -h)]
    np.testing.assert_allclose(corrected(x), (moved[0] - moved[1]) / (2 * h), rtol=1e-8)
    assert np.abs(printed(x) - corrected(x)).max() > 0.5
    df = [THETA * np.cos(T0), np.cos(T0) * Z_0, -THETA * np.sin(T0) * Z_0]
    np.testing.assert_allclose(jacobian(corrected)(x), [df, [0, 0, 0], [0, 0, 0]], rtol=1e-14)
    np.testing.assert_allclose(jacobian(printed)(x), [df, [0, 1, 0], [0, 0, 1]], rtol=1e-14)
    right = backward(lambda a, a_theta, a_t, dz, dtheta, dt: [a * dz, a * dtheta, a * dt])
    wrong = backward(lambda a, a_theta, a_t, dz, dtheta, dt: [a * dz, a * dtheta + a_theta, a * dt + a_t])
    np.testing.assert_allclose(right[:3], [Z_0, V * np.exp(THETA * S), DL_DTHETA], rtol=1e-8)
    assert abs(wrong[2] - DL_DTHETA) > 0.1


def test_13_15_every_row_has_a():
    """Printed: [-a df/dz, -a_theta df/dtheta, -a_t df/dt]. Corrected: a in all three.

    With one state and one parameter the printed shapes fit, and a_theta, which starts at 0, stays there: dL/dtheta = 0.
    """
    printed = backward(lambda a, a_theta, a_t, dz, dtheta, dt: [a * dz, a_theta * dtheta, a_t * dt])
    assert printed[2] == 0
    for mode in MODES:
        np.testing.assert_allclose(by_library(mode=mode).theta, DL_DTHETA, rtol=1e-7)
    assert abs(DL_DTHETA) > 0.5


def test_13_16_the_derivative_of_a_theta():
    """Printed: a_theta(t) = -a df/dtheta. Corrected: d a_theta/dt = -a df/dtheta.

    Here a z = V z(T1) at all times, so a_theta(t) = V z(T1) (sin T1 - sin t), 0 at T1 (13.17),
    where the printed one is not 0.
    """
    t, z, a, a_theta, _ = by_library().trajectory
    np.testing.assert_allclose(a * z, V * Z_1, rtol=1e-8)
    np.testing.assert_allclose(a_theta[:, 0], V * Z_1 * (np.sin(T1) - np.sin(t)), rtol=1e-7, atol=1e-9)
    printed = -a * np.cos(t) * z
    assert a_theta[0, 0] == 0 and abs(printed[0]) > 0.5
    assert np.abs(printed - a_theta[:, 0]).max() > 1 and abs(printed[-1] - DL_DTHETA) > 0.5


def test_left_out_the_sign_of_a_t():
    """Left out: a_t(T1) = -a f, so that a_t(T0) = dL/dT0 = -a(T0) f; dL/dT1 = a f.
    With + in the place of - a_t(T0) is wrong."""
    dL_dT0, dL_dT1 = -V * THETA * np.cos(T0) * Z_1, V * THETA * np.cos(T1) * Z_1
    for mode in MODES:
        np.testing.assert_allclose(by_library(mode=mode).ts, [dL_dT0, dL_dT1], rtol=1e-6)
    h = 1e-4
    moved = [V * (solve(f, Z_0, [T0 + e, T1], THETA, rtol=1e-11).zs[-1]) for e in (h, -h)]
    np.testing.assert_allclose((moved[0] - moved[1]) / (2 * h), dL_dT0, rtol=1e-6)
    def corrected(a, a_theta, a_t, dz, dtheta, dt):
        return [a * dz, a * dtheta, a * dt]
    np.testing.assert_allclose(backward(corrected, -dL_dT1)[3], dL_dT0, rtol=1e-8)
    assert abs(backward(corrected, dL_dT1)[3] - dL_dT0) > 0.5
    trajectory = by_library().trajectory
    np.testing.assert_allclose([trajectory.a_t[0], trajectory.a_t[-1]], [-dL_dT1, dL_dT0], rtol=1e-7)


def test_left_out_a_loss_at_many_times():
    """Left out: a jumps by g_i and a_t by -g_i f at every t_i, i >= 1;
    dL/dt_0 = -a(T0+) f *before* the jump g_0; dL/dz0 = a + g_0.

    L = sum_i g_i z(t_i) in closed form, g_0 != 0. Without the inner jumps, or with g_0 in dL/dt_0,
    the numbers are others.
    """
    ts, g = np.array([T0, 0.9, T1]), np.array([0.7, -1.1, V])
    grow, z = np.exp(THETA * (np.sin(ts) - np.sin(T0))), Z_0 * np.exp(THETA * (np.sin(ts) - np.sin(T0)))
    slopes = f(z, ts, THETA)
    z0_bar, theta_bar = g @ grow, g @ (z * (np.sin(ts) - np.sin(T0)))
    before = g[1:] @ grow[1:]  # a(T0+)
    ts_bar = np.array([-before * slopes[0], *(g * slopes)[1:]])
    h = 1e-5
    for i, e in enumerate(h * np.eye(3)):
        L = [g @ (Z_0 * np.exp(THETA * (np.sin(moved) - np.sin(moved[0])))) for moved in (ts + e, ts - e)]
        np.testing.assert_allclose((L[0] - L[1]) / (2 * h), ts_bar[i], rtol=1e-8)
    solution = solve(f, Z_0, ts, THETA, rtol=1e-9, atol=1e-11)
    for mode in MODES:
        got = adjoint(f, solution, g, mode=mode)
        np.testing.assert_allclose([got.z0, got.theta, *got.ts], [z0_bar, theta_bar, *ts_bar], rtol=1e-6)
    assert abs(-z0_bar * slopes[0] - ts_bar[0]) > 0.5  # with g_0
    assert abs(adjoint(f, solution, g * [1, 0, 1]).theta - theta_bar) > 0.3  # without the jump inside
    t, _, a, _, a_t = adjoint(f, solution, g).trajectory
    at = np.flatnonzero(t == 0.9)
    np.testing.assert_allclose([np.diff(a[at])[0], np.diff(a_t[at])[0]], [g[1], -g[1] * slopes[1]], rtol=1e-7)
    np.testing.assert_allclose(a[-1], before, rtol=1e-7)
