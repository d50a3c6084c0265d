"""An adapter with every operation, in plain batched NumPy: what a first implementation looks like.

    python -m refvdm.conformance run examples/adapters/plain_numpy.py

Nothing of refvdm is used. What to try next: copy it, put your own functions behind the names, and
break one on purpose; tests/test_conformance_gallery.py breaks it in many ways.
"""
import itertools

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import log_ndtr

dtype = "float64"
LOG_2PI = float(np.log(2 * np.pi))

# ---- Gaussians


def gaussian_log_density(x, mean, var):
    return -0.5 * np.sum(LOG_2PI + np.log(var) + (x - mean) ** 2 / var, axis=-1)


def gaussian_kl(mean_q, var_q, mean_p, var_p):
    ratio = var_q / var_p
    return 0.5 * np.sum(ratio - 1 - np.log(ratio) + (mean_q - mean_p) ** 2 / var_p, axis=-1)


def gaussian_log_density_full(x, mean, cov):
    z = np.linalg.solve(cov, (x - mean)[..., None])[..., 0]
    square = np.sum((x - mean) * z, axis=-1)
    return -0.5 * (square + np.linalg.slogdet(cov)[1] + x.shape[-1] * LOG_2PI)


def gaussian_kl_full(mean_q, cov_q, mean_p, cov_p):
    difference = mean_p - mean_q
    trace = np.trace(np.linalg.solve(cov_p, cov_q), axis1=1, axis2=2)
    square = np.sum(difference * np.linalg.solve(cov_p, difference[..., None])[..., 0], axis=-1)
    logs = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    return 0.5 * (trace - difference.shape[-1] + square + logs)


def discretized_gaussian_mass(level, K, mean, var):
    value, half, sd = 2 * level / (K - 1) - 1, 1 / (K - 1), np.sqrt(var)
    high = np.where(level == K - 1, np.inf, (value + half - mean) / sd)
    low = np.where(level == 0, -np.inf, (value - half - mean) / sd)
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    upper, lower = log_ndtr(high), log_ndtr(low)
    return np.sum(upper + np.log1p(-np.exp(lower - upper)), axis=-1)


# ---- flows


def W_of(perm, lower, upper):
    return (lower @ upper)[perm]


def positions(x):
    return int(np.prod(x.shape[1:-1]))


def plu_log_det(x, perm, lower, upper):
    log_det = np.sum(np.log(np.abs(np.diag(upper))))
    return positions(x) * log_det * np.ones(len(x), x.dtype)


def plu_forward(x, perm, lower, upper):
    y = x @ W_of(perm, lower, upper).T
    return y, plu_log_det(x, perm, lower, upper)


def plu_inverse(y, perm, lower, upper):
    flat = y.reshape(-1, y.shape[-1]).T
    x = np.linalg.solve(W_of(perm, lower, upper), flat).T.reshape(y.shape)
    return x, -plu_log_det(y, perm, lower, upper)


def plu_vjp(x, y_bar, perm, lower, upper, log_det_bar):
    d = x.shape[-1]
    rows, bars = x.reshape(-1, d), y_bar.reshape(-1, d)
    b_bar = bars[:, np.argsort(perm)]
    a, a_bar = rows @ upper.T, b_bar @ lower
    count = positions(x) * np.sum(log_det_bar)
    upper_bar = np.triu(a_bar.T @ rows) + np.diag(count / np.diag(upper))
    return (a_bar @ upper).reshape(x.shape), np.tril(b_bar.T @ a, -1), upper_bar


def actnorm_forward(x, shift, log_scale):
    log_det = positions(x) * np.sum(log_scale)
    return np.exp(log_scale) * x + shift, log_det * np.ones(len(x), x.dtype)


def actnorm_init(x):
    rows = x.reshape(-1, x.shape[-1])
    scale = 1 / np.std(rows, axis=0)
    return -np.mean(rows, axis=0) * scale, np.log(scale)


def coupling_forward(x, A, a, B, b):
    kept, moved = np.split(x, [x.shape[1] // 2], axis=1)
    s, h = np.tanh(kept @ A + a), kept @ B + b
    return np.concatenate([kept, np.exp(s) * moved + h], axis=1), np.sum(s, axis=1)


def squeeze(x):
    n, h, w, c = x.shape
    blocks = x.reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


# ---- the hierarchical VAE and the network


def hvae_elbo(x, A_q, b_q, log_var_q, A_p, b_p, log_var_p, eps):
    z, total = x, 0
    for t in range(len(A_q)):
        mean, var = z @ A_q[t].T + b_q[t], np.exp(log_var_q[t])
        z_next = mean + np.sqrt(var) * eps[t]
        total = total - gaussian_log_density(z_next, mean, var)
        total = total + gaussian_log_density(z, z_next @ A_p[t].T + b_p[t], np.exp(log_var_p[t]))
        z = z_next
    return total + gaussian_log_density(z, 0, 1 + 0 * z)


def activate(z, activation):
    if activation == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    s = 1 / (1 + np.exp(-z))
    return z * s, s + z * s * (1 - s)


def mlp(x, W1, b1, W2, b2, W3, b3, activation):
    h1, _ = activate(x @ W1 + b1, activation)
    h2, _ = activate(h1 @ W2 + b2, activation)
    return h2 @ W3 + b3


def mlp_vjp(x, W1, b1, W2, b2, W3, b3, activation, y_bar):
    h1, slope1 = activate(x @ W1 + b1, activation)
    h2, slope2 = activate(h1 @ W2 + b2, activation)
    bar2 = (y_bar @ W3.T) * slope2
    bar1 = (bar2 @ W2.T) * slope1
    return (bar1 @ W1.T, x.T @ bar1, bar1.sum(0), h1.T @ bar2, bar2.sum(0), h2.T @ y_bar,
            y_bar.sum(0))


# ---- differential equations


def field_of(name):
    """f(z, t, theta) and a row times its Jacobians in z, theta and t."""
    def f(z, t, theta):
        D = len(z)
        M, c = theta[: D * D].reshape(D, D), theta[D * D :]
        return M @ z + c * np.sin(2 * t) if name == "forced" else M @ np.tanh(z + c * t)

    def pull(a, z, t, theta):
        D = len(z)
        M, c = theta[: D * D].reshape(D, D), theta[D * D :]
        if name == "forced":
            by_theta = np.append(np.outer(a, z), a * np.sin(2 * t))
            return a @ M, by_theta, 2 * np.cos(2 * t) * (a @ c)
        h = np.tanh(z + c * t)
        by_z = (a @ M) * (1 - h**2)
        return by_z, np.append(np.outer(a, h), by_z * t), by_z @ c
    return f, pull


def integrate(rhs, y, t0, t1):
    return solve_ivp(rhs, (t0, t1), y, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]


def odeint(field, z0, ts, theta):
    f, _ = field_of(field)
    zs = [z0]
    for t0, t1 in itertools.pairwise(ts):
        zs.append(integrate(lambda t, z: f(z, t, theta), zs[-1], t0, t1))
    return np.stack(zs)


def rk4(field, z0, ts, theta, steps):
    f, _ = field_of(field)
    z, h = z0, (ts[1] - ts[0]) / steps
    for i in range(int(steps)):
        t = ts[0] + i * h
        k1 = f(z, t, theta)
        k2 = f(z + h / 2 * k1, t + h / 2, theta)
        k3 = f(z + h / 2 * k2, t + h / 2, theta)
        k4 = f(z + h * k3, t + h, theta)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return z


def odeint_gradients(field, z0, ts, theta, zs_bar):
    f, pull = field_of(field)
    zs, D, P = odeint(field, z0, ts, theta), len(z0), len(theta)

    def rhs(t, y):
        z, a = y[:D], y[D : 2 * D]
        by_z, by_theta, by_t = pull(a, z, t, theta)
        return np.concatenate([f(z, t, theta), -by_z, -by_theta, [-by_t]])
    a, a_theta, a_t, ts_bar = np.zeros(D), np.zeros(P), 0.0, np.zeros(len(ts))
    for i in range(len(ts) - 1, 0, -1):
        ts_bar[i] = zs_bar[i] @ f(zs[i], ts[i], theta)
        a, a_t = a + zs_bar[i], a_t - ts_bar[i]
        y = integrate(rhs, np.concatenate([zs[i], a, a_theta, [a_t]]), ts[i], ts[i - 1])
        a, a_theta, a_t = y[D : 2 * D], y[2 * D : -1], y[-1]
    ts_bar[0] = a_t
    return a + zs_bar[0], a_theta, ts_bar


def odeint_grid_gradients(field, z0, ts, theta, zs_bar, step):
    return odeint_gradients(field, z0, ts, theta, zs_bar)


# ---- diffusion


def tables(betas):
    """alpha, alpha_bar, 1 - alpha_bar with an entry for t = 0 in front: index t is t."""
    alpha = np.concatenate([[1], 1 - betas]).astype(betas.dtype)
    log_alpha_bar = np.concatenate([[0], np.cumsum(np.log1p(-betas))]).astype(betas.dtype)
    return alpha, np.exp(log_alpha_bar), -np.expm1(log_alpha_bar)


def snr(betas, t):
    _, alpha_bar, rest = tables(betas)
    return alpha_bar[t] / rest[t]


def schedule_tables(betas):
    alpha, alpha_bar, rest = tables(betas)
    gamma = np.log(rest[1:]) - np.log(alpha_bar[1:])
    posterior_var = betas * rest[:-1] / rest[1:]
    drop = np.exp(-gamma[1:]) * np.expm1(gamma[1:] - gamma[:-1])
    return alpha[1:], alpha_bar[1:], rest[1:], gamma, posterior_var, drop


def posterior_log_variance(betas):
    var = schedule_tables(betas)[4]
    return np.log(np.append(var[1], var[1:]))


def q_step(x_prev, betas, t):
    beta = betas[t - 1]
    return np.sqrt(1 - beta)[:, None] * x_prev, beta


def q_marginal(x_0, betas, t):
    _, alpha_bar, rest = tables(betas)
    return np.sqrt(alpha_bar[t])[:, None] * x_0, rest[t]


def draw(x_0, betas, t, eps):
    mean, var = q_marginal(x_0, betas, t)
    return mean + np.sqrt(var)[:, None] * eps


def q_posterior(x_t, x_0, betas, t):
    alpha, alpha_bar, rest = tables(betas)
    of_x_t = np.sqrt(alpha[t]) * rest[t - 1] / rest[t]
    of_x_0 = np.sqrt(alpha_bar[t - 1]) * betas[t - 1] / rest[t]
    mean = of_x_t[:, None] * x_t + of_x_0[:, None] * x_0
    return mean, betas[t - 1] * rest[t - 1] / rest[t]


def reverse_step(x_t, x_0_hat, betas, t):
    return q_posterior(x_t, x_0_hat, betas, t)


def kl_t(x_0, x_0_hat, betas, t, variance):
    square = np.sum((x_0 - x_0_hat) ** 2, axis=1)
    before = np.maximum(t - 1, 1)
    inner = 0.5 * (snr(betas, before) - snr(betas, t)) * square
    first = -gaussian_log_density(x_0, x_0_hat, variance + 0 * x_0)
    return np.where(t == 1, first, inner)


def prior_kl(x_0, betas):
    mean, var = q_marginal(x_0, betas, np.full(len(x_0), len(betas)))
    return gaussian_kl(mean, var[:, None] + 0 * x_0, 0 * x_0, 1 + 0 * x_0)


def kl_t_any_variance(x_t, x_0, x_0_hat, betas, t, p_var):
    mean_q, var_q = q_posterior(x_t, x_0, betas, t)
    mean_p, _ = q_posterior(x_t, x_0_hat, betas, t)
    return gaussian_kl(mean_q, var_q[:, None] + 0 * x_0, mean_p, p_var[:, None] + 0 * x_0)


def bound(x_0, betas, denoiser, variance, eps):
    reconstruction, diffusion = 0, 0
    for t in range(1, len(betas) + 1):
        every = np.full(len(x_0), t)
        x_0_hat = denoiser(draw(x_0, betas, every, eps[t - 1]), t)
        term = kl_t(x_0, x_0_hat, betas, every, variance)
        if t == 1:
            reconstruction = -term
        else:
            diffusion = diffusion + term
    prior = prior_kl(x_0, betas)
    return reconstruction, prior, diffusion, reconstruction - prior - diffusion


def elbo(x_0, betas, A, b, variance, eps):
    return bound(x_0, betas, lambda x, t: x @ A[t - 1].T + b[t - 1], variance, eps)


def network(x, t, T, W1, b1, W2, b2):
    seen = np.concatenate([x, np.full((len(x), 1), t / T, x.dtype)], axis=1)
    hidden = np.tanh(seen @ W1 + b1)
    return seen, hidden, hidden @ W2 + b2


def elbo_network(x_0, betas, W1, b1, W2, b2, variance, eps):
    return bound(x_0, betas, lambda x, t: network(x, t, len(betas), W1, b1, W2, b2)[2], variance,
                 eps)


def pulls(x_0, betas, denoiser, variance, eps, total_bar):
    """t, x_t and dL/dx_0_hat of every t."""
    for t in range(1, len(betas) + 1):
        x_t = draw(x_0, betas, np.full(len(x_0), t), eps[t - 1])
        weight = 1 / variance if t == 1 else snr(betas, t - 1) - snr(betas, t)
        yield t, x_t, total_bar[:, None] * weight * (x_0 - denoiser(x_t, t))


def elbo_gradient(x_0, betas, A, b, variance, eps, total_bar):
    A_bar, b_bar = np.zeros_like(A), np.zeros_like(b)
    for t, x_t, bar in pulls(x_0, betas, lambda x, t: x @ A[t - 1].T + b[t - 1], variance, eps,
                             total_bar):
        A_bar[t - 1], b_bar[t - 1] = bar.T @ x_t, bar.sum(0)
    return A_bar, b_bar


def elbo_network_gradient(x_0, betas, W1, b1, W2, b2, variance, eps, total_bar):
    bars = [np.zeros_like(w) for w in (W1, b1, W2, b2)]

    def run(x, t):
        return network(x, t, len(betas), W1, b1, W2, b2)
    for t, x_t, bar in pulls(x_0, betas, lambda x, t: run(x, t)[2], variance, eps, total_bar):
        seen, hidden, _ = run(x_t, t)
        below = (bar @ W2.T) * (1 - hidden**2)
        for total, part in zip(bars, (seen.T @ below, below.sum(0), hidden.T @ bar, bar.sum(0))):
            total += part
    return tuple(bars)


def training_loss(x_0, betas, A, b, t, eps):
    x_t = draw(x_0, betas, t, eps)
    x_0_hat = np.einsum("nij,nj->ni", A[t - 1], x_t) + b[t - 1]
    weight = 0.5 * (snr(betas, t - 1) - snr(betas, t))
    return (len(betas) - 1) * weight * np.sum((x_0 - x_0_hat) ** 2, axis=1)


def continuous_loss(x_0, x_0_hat, t, gamma_0, gamma_1, power):
    gamma = gamma_0 + (gamma_1 - gamma_0) * t**power
    slope = (gamma_1 - gamma_0) * power * t ** (power - 1)
    return 0.5 * slope * np.exp(-gamma) * np.sum((x_0 - x_0_hat) ** 2, axis=1)


def bits_per_dim(nats, shape):
    return nats / (np.prod(shape) * np.log(2))


def image_bits_per_dim(log_prob, K):
    return -(log_prob.mean((1, 2, 3)) + np.log(2 / (K - 1))) / np.log(2)


# ---- what a network predicts, and the samplers


def ddim_step(x_t, x_0_hat, betas, t, s, eta, eps):
    _, alpha_bar, rest = tables(betas)
    sigma = eta * np.sqrt(rest[s] / rest[t] * (1 - alpha_bar[t] / alpha_bar[s]))[:, None]
    eps_hat = (x_t - np.sqrt(alpha_bar[t])[:, None] * x_0_hat) / np.sqrt(rest[t])[:, None]
    direction = np.sqrt(rest[s][:, None] - sigma**2) * eps_hat
    return np.sqrt(alpha_bar[s])[:, None] * x_0_hat + direction + sigma * eps


def ddim_run(x, betas, A, b, times):
    for i, t in enumerate(times):
        x_0_hat = x @ A[t - 1].T + b[t - 1]
        s = times[i + 1] if i + 1 < len(times) else 0
        every = np.ones(len(x), int)
        x = ddim_step(x, x_0_hat, betas, t * every, s * every, 0, 0)
    return x


def convert(source, target):
    def converted(value, x_t, betas, t):
        _, alpha_bar, rest = tables(betas)
        s, n = np.sqrt(alpha_bar[t])[:, None], np.sqrt(rest[t])[:, None]
        eps = {"x_0": lambda: (x_t - s * value) / n, "eps": lambda: value,
               "v": lambda: n * x_t + s * value, "score": lambda: -n * value}[source]()
        x_0 = (x_t - n * eps) / s
        return {"x_0": x_0, "eps": eps, "v": s * eps - n * x_0, "score": -eps / n}[target]
    return converted


for _source in ("x_0", "eps", "v", "score"):
    for _target in ("x_0", "eps", "v", "score"):
        if _source != _target:
            globals()[f"{_source}_to_{_target}"] = convert(_source, _target)
