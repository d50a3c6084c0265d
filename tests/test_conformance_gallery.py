"""A gallery of wrong implementations: each is examples/adapters/plain_numpy.py with a line changed, as people do change
it, and each must be caught and called by its name. The names are the kit's; the code knows nothing of them."""
import functools
import types
from pathlib import Path

import pytest

from refvdm.conformance import OPERATIONS, check, vectors
from refvdm.conformance.judge import FAIL, PASS

TEXT = (Path(__file__).parent.parent / "examples" / "adapters" / "plain_numpy.py").read_text(encoding="utf-8")

STAGES = """        k2 = f(z + h / 2 * k1, t + h / 2, theta)
        k3 = f(z + h / 2 * k2, t + h / 2, theta)
        k4 = f(z + h * k3, t + h, theta)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
"""
RULE_3_8 = """        k2 = f(z + h / 3 * k1, t + h / 3, theta)
        k3 = f(z + h * (k2 - k1 / 3), t + 2 * h / 3, theta)
        k4 = f(z + h * (k1 - k2 + k3), t + h, theta)
        z = z + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
"""
WRONG = [  # operation, what is written instead of what, what it must be called
    ("gaussian_log_density", "(x - mean) ** 2 / var,", "((x - mean) / var) ** 2,",
     "(x - μ)² is divided by var², not var"),
    ("gaussian_log_density", "LOG_2PI + np.log(var)", "np.log(var)", "the constant D/2 log 2π is missing"),
    ("gaussian_kl", "ratio = var_q / var_p", "ratio = var_p / var_q", "it runs from p to q and"),
    ("gaussian_kl", "(mean_q - mean_p) ** 2 / var_p", "(mean_q - mean_p) ** 2 / var_q",
     "(μ_q - μ_p)² is divided by q's variance"),
    ("gaussian_kl", "return 0.5 * np.sum(ratio - 1", "return np.sum(ratio - 1", "the factor 1/2 is forgotten"),
    ("gaussian_log_density_full", "np.linalg.slogdet(cov)[1] + x", "2 * np.linalg.slogdet(cov)[1] + x",
     "log |cov| is not halved"),
    ("gaussian_kl_full", "trace - difference.shape[-1] + square", "trace + square", "the -D is missing"),
    ("discretized_gaussian_mass", "half, sd = 2 * level / (K - 1) - 1, 1 / (K - 1)",
     "half, sd = 2 * level / (K - 1) - 1, 0.5 / (K - 1)", "bins have half their width"),
    ("discretized_gaussian_mass", "np.where(level == K - 1, np.inf, (value + half - mean) / sd)",
     "(value + half - mean) / sd", "the last bin is closed"),
    ("discretized_gaussian_mass", "np.sqrt(var)\n    high", "var\n    high", "var is read as a standard deviation"),
    ("plu_forward", "x @ W_of(perm, lower, upper).T", "x @ W_of(perm, lower, upper)", "W is applied transposed"),
    ("plu_forward", "(lower @ upper)[perm]", "(lower @ upper)[np.argsort(perm)]", "P is read as its inverse"),
    ("plu_forward", "(lower @ upper)[perm]", "lower @ upper", "P is left out"),
    ("plu_forward", "(lower @ upper)[perm]", "(lower @ upper)[:, np.argsort(perm)]", "P is applied to x, not to L U x"),
    ("plu_forward", "return positions(x) * log_det", "return log_det", "log_det forgets the positions"),
    ("plu_log_det", "return positions(x) * log_det", "return -positions(x) * log_det", "log_det has the other sign"),
    ("plu_log_det", "x.shape[1:-1]", "x.shape[1:2]", "log_det counts h positions, not h w"),
    ("plu_log_det", "return positions(x) * log_det * np.ones(len(x), x.dtype)",
     "return len(x) * positions(x) * log_det",
     "log_det is summed over the batch"),
    ("plu_inverse", "return x, -plu_log_det", "return x, plu_log_det", "log_det has the other sign"),
    ("plu_inverse", "np.linalg.solve(W_of(perm, lower, upper), flat)",
     "np.linalg.solve(W_of(perm, lower, upper).T, flat)", "it is the inverse of W^T"),
    ("plu_vjp", "np.tril(b_bar.T @ a, -1)", "np.tril(b_bar.T @ a)", "lower_bar has its diagonal too"),
    ("plu_vjp", "np.triu(a_bar.T @ rows)", "a_bar.T @ rows", "upper_bar is not masked"),
    ("plu_vjp", "np.diag(count / np.diag(upper))", "np.diag(0 * np.diag(upper))", "log_det's part is missing"),
    ("plu_vjp", "positions(x) * np.sum(log_det_bar)", "np.sum(log_det_bar)", "log_det's part forgets the positions"),
    ("plu_vjp", "count / np.diag(upper)", "count + 0 * np.diag(upper)", "no 1/U_ii"),
    ("actnorm_forward", "np.exp(log_scale) * x + shift", "np.exp(log_scale) * (x + shift)",
     "the shift comes before the scale"),
    ("actnorm_forward", "positions(x) * np.sum(log_scale)", "np.sum(log_scale)", "log_det forgets the positions"),
    ("actnorm_init", "np.std(rows, axis=0)", "np.std(rows, axis=0, ddof=1)", "the deviation is that with n - 1"),
    ("actnorm_init", "-np.mean(rows, axis=0) * scale", "-np.mean(rows, axis=0)",
     "all 2 match the reference if the shift is minus the mean, for a shift before the scale"),
    ("coupling_forward", "np.exp(s) * moved + h", "np.exp(s) * (moved + h)", "the shift comes before the scale"),
    ("coupling_forward", "np.tanh(kept @ A + a)", "kept @ A + a", "the log-scale is not squashed"),
    ("squeeze", "0, 1, 3, 2, 4, 5", "0, 1, 3, 5, 2, 4", "channels come first"),
    ("squeeze", "0, 1, 3, 2, 4, 5", "0, 1, 3, 4, 2, 5", "columns come before rows"),
    ("hvae_elbo", "return total + gaussian_log_density(z, 0, 1 + 0 * z)", "return total", "log p(z_T) is missing"),
    ("hvae_elbo", "np.sqrt(var) * eps[t]", "var * eps[t]", "q is drawn with the variance for the deviation"),
    ("hvae_elbo", "total = total - gaussian_log_density(z_next, mean, var)", "pass", "log q is missing"),
    ("mlp", "h2 @ W3 + b3", "h2 @ W3", "the last layer has no bias"),
    ("mlp", "s = 1 / (1 + np.exp(-z))\n    return z * s", "s = 1 / (1 + np.exp(-z))\n    return s",
     "silu is taken for the sigmoid alone"),
    ("mlp_vjp", "activation, y_bar):\n", "activation, y_bar):\n    y_bar = 1 + 0 * y_bar\n", "y_bar is left out"),
    ("mlp_vjp", "h2.T @ y_bar", "y_bar.T @ h2", "W3_bar matches if gradients of W are transposed"),
    ("odeint", "integrate(lambda t, z: f(z, t, theta)", "integrate(lambda t, z: f(z, t - ts[0], theta)",
     "the field sees the time since T0"),
    ("odeint", "integrate(lambda t, z: f(z, t, theta)", "integrate(lambda t, z: f(z0, t, theta)",
     "z(T0) stands in the integrand (13.8 as printed)"),
    ("odeint", "rtol=1e-10, atol=1e-12", "rtol=1e-4, atol=1e-5", "the solver is asked for less than 1e-8"),
    ("rk4", STAGES, RULE_3_8, "all 3 match the reference if it is the 3/8 rule"),
    ("rk4", STAGES, "        z = z + h * k1\n", "all 3 match the reference if the steps are Euler's"),
    ("rk4", STAGES, STAGES.replace("t + h / 2", "t").replace("t + h,", "t,"), "the stages do not move in t"),
    ("rk4", "z, h = z0, (ts[1]", "steps = steps + 1\n    z, h = z0, (ts[1]", "there is one step more"),
    ("rk4", "(k1 + 2 * k2 + 2 * k3 + k4)", "(k1 + k2 + k3 + k4) * 1.5", "the stages weigh the same"),
    ("odeint_gradients", "ts_bar[0] = a_t", "ts_bar[0] = -a_t", "dL/dT0 has the other sign"),
    ("odeint_gradients", "a_t - ts_bar[i]", "a_t + ts_bar[i]", "a_t starts, and jumps, with the other sign"),
    ("odeint_gradients", "[-by_t]", "[0]", "dL/dT0 lacks the integral of a ∂f/∂t"),
    ("odeint_gradients", "a + zs_bar[0], a_theta", "a, a_theta", "the loss at the first time is dropped"),
    ("odeint_gradients", "    ts_bar[0] = a_t\n", "", "dL/dT0 is missing"),
    ("odeint_gradients", "np.concatenate([f(z, t, theta), -by_z,", "np.concatenate([f(z, t, theta), by_z,",
     "da/dt has the other sign"),
    ("odeint_gradients", "-by_theta", "by_theta", "theta_bar has the other sign"),
    ("odeint_grid_gradients", "return odeint_gradients(field, z0, ts, theta, zs_bar)",
     """up = step * np.sign(ts[-1] - ts[0])
    return odeint_gradients(field, z0, ts[0] + up * np.round((ts - ts[0]) / up), theta, zs_bar)""",
     "times are rounded to the grid"),
    ("schedule_tables", "return alpha, np.exp(log_alpha_bar), -np.expm1(log_alpha_bar)",
     "return alpha, np.exp(log_alpha_bar), (1 - np.exp(log_alpha_bar).astype('f')).astype(float)",
     "float32 somewhere, as in 1 - ᾱ from a rounded ᾱ"),
    ("schedule_tables", "betas * rest[:-1] / rest[1:]", "betas", "the posterior's variance is β_t"),
    ("schedule_tables", "rest[1:], gamma, posterior_var", "rest[1:], -gamma, posterior_var",
     "gamma is log SNR"),
    ("posterior_log_variance", "np.log(np.append(var[1], var[1:]))", "np.log(np.maximum(var, 1e-20))",
     "clamped to 1e-20"),
    ("q_step", "return np.sqrt(1 - beta)[:, None] * x_prev, beta", "return (1 - beta)[:, None] * x_prev, beta",
     "the mean has α_t for √α_t"),
    ("q_marginal", "* x_0, rest[t]\n", "* x_0, np.sqrt(rest[t])\n",
     "the second output is a standard deviation (13.28 as printed)"),
    ("q_marginal", "def q_marginal(x_0, betas, t):\n", "def q_marginal(x_0, betas, t):\n    t = t - 1\n",
     "t is one too small, and t = 1 reads ᾱ_0 = 1"),
    ("q_marginal", "np.sqrt(alpha_bar[t])[:, None] * x_0, rest[t]", "np.sqrt(alpha_bar[t])[:, None] * x_0, 1 - rest[t]",
     "the variance is ᾱ_t, not 1 - ᾱ_t"),
    ("q_posterior", "mean, betas[t - 1] * rest[t - 1] / rest[t]", "mean, betas[t - 1]", "the variance is β_t"),
    ("q_posterior", "np.sqrt(alpha_bar[t - 1]) * betas", "alpha_bar[t - 1] * betas",
     "the mean has ᾱ_(t-1) for √ᾱ_(t-1)"),
    ("q_posterior", "def q_posterior(x_t, x_0, betas, t):\n    alpha, alpha_bar, rest = tables(betas)",
     "def q_posterior(x_t, x_0, betas, t):\n    alpha, _, _ = tables(betas)\n    alpha_bar, rest = alpha, 1 - alpha",
     "α_t stands in the place of ᾱ_t"),
    ("kl_t", "0.5 * (snr(betas, before) - snr(betas, t)) * square", "0.5 * snr(betas, t) * square",
     "the weight is SNR_t, not"),
    ("kl_t", "variance + 0 * x_0)", "variance**2 + 0 * x_0)", "the decoder's variance is read as a standard deviation"),
    ("prior_kl", "return gaussian_kl(mean, var[:, None] + 0 * x_0, 0 * x_0, 1 + 0 * x_0)",
     "return gaussian_kl(0 * x_0, 1 + 0 * x_0, mean, var[:, None] + 0 * x_0)", "its direction is KL(p ‖ q)"),
    ("prior_kl", "np.full(len(x_0), len(betas))", "np.full(len(x_0), len(betas) - 1)", "it is taken at T - 1"),
    ("kl_t_any_variance", "return gaussian_kl(mean_q, var_q[:, None] + 0 * x_0, mean_p, p_var[:, None] + 0 * x_0)",
     "return gaussian_kl(mean_p, p_var[:, None] + 0 * x_0, mean_q, var_q[:, None] + 0 * x_0)",
     "it runs from p to q (13.24 as printed)"),
    ("elbo", "reconstruction - prior - diffusion", "reconstruction - diffusion",
     "the prior's KL is left out of the total"),
    ("elbo", "A[t - 1].T + b[t - 1], variance, eps)", "A[t % len(A)].T + b[t % len(A)], variance, eps)",
     "the table of the network is read at t, not t - 1"),
    ("elbo", "A[t - 1].T + b[t - 1], variance, eps)", "A[t - 1] + b[t - 1], variance, eps)", "A is applied transposed"),
    ("elbo_gradient", "weight = 1 / variance if t == 1 else", "weight = 0 if t == 1 else",
     "the reconstruction's part is missing"),
    ("elbo_gradient", "else snr(betas, t - 1) - snr(betas, t)", "else 2 * (snr(betas, t - 1) - snr(betas, t))",
     "the factor 1/2 of the KLs is forgotten"),
    ("elbo_gradient", "total_bar[:, None] * weight * (x_0", "-total_bar[:, None] * weight * (x_0", "minus the bound"),
    ("elbo_network", "t / T, x.dtype", "(t - 1) / T, x.dtype", "the network sees (t - 1)/T"),
    ("elbo_network", "t / T, x.dtype", "0, x.dtype", "the network sees no t (0)"),
    ("elbo_network_gradient", "(bar @ W2.T) * (1 - hidden**2)", "bar @ W2.T", "the derivative of tanh is left out"),
    ("training_loss", "(len(betas) - 1) * weight", "len(betas) * weight", "the factor is T, not T - 1"),
    ("training_loss", "(len(betas) - 1) * weight", "weight", "the factor T - 1 is missing (13.29 as printed)"),
    ("continuous_loss", "0.5 * slope * np.exp(-gamma)", "0.5 * np.exp(-gamma)", "dgamma/dt is forgotten"),
    ("bits_per_dim", "np.prod(shape) * np.log(2)", "np.prod(shape[1:]) * np.log(2)", "channels are forgotten"),
    ("bits_per_dim", "np.prod(shape) * np.log(2)", "np.prod(shape)", "it is in nats, not bits"),
    ("image_bits_per_dim", "np.log(2 / (K - 1))", "0", "the scaling to [-1, 1] is forgotten"),
    ("eps_to_x_0", "s, n = np.sqrt(alpha_bar[t])[:, None], np.sqrt(rest[t])[:, None]",
     "s, n = alpha_bar[t][:, None], rest[t][:, None]", "without their roots"),
    ("v_to_x_0", '"v": lambda: n * x_t + s * value', '"v": lambda: n * x_t - s * value',
     "the input has the other sign"),
    ("eps_to_score", '"score": -eps / n', '"score": eps / n', "its sign is the other one"),
    ("reverse_step", "return q_posterior(x_t, x_0_hat, betas, t)",
     "return q_posterior(x_t, v_to_x_0(x_0_hat, x_t, betas, t), betas, t)", "x_0 hat is read as v"),
    ("ddim_step", "np.sqrt(rest[s][:, None] - sigma**2)", "np.sqrt(rest[s][:, None])",
     "σ is not taken out of the direction"),
    ("ddim_step", "sigma * eps\n", "sigma**2 * eps\n", "σ is used as a variance"),
    ("ddim_run", "times[i + 1] if i + 1 < len(times) else 0", "t - 1", "each step goes to t - 1"),
    ("ddim_run", "times[i + 1] if i + 1 < len(times) else 0", "max(t - len(betas) // len(times), 0)",
     "one stride T/steps down"),
    ("ddim_run", "len(times) else 0", "len(times) else 1", "the last step goes to ᾱ_1"),
    ("ddim_run", "x_0_hat = x @ A[t - 1].T + b[t - 1]\n        s",
     "x_0_hat = eps_to_x_0(x @ A[t - 1].T + b[t - 1], x, betas, np.full(len(x), t))\n        s",
     "read as eps, and it is x_0"),
    ("rk4", "k4 = f(z + h * k3, t + h, theta)", "k4 = f(z + h * k3, t + h / 2, theta)",
     "the last stage is at t + h/2, not t + h"),
    ("rk4", "k3 = f(z + h / 2 * k2, t", "k3 = f(z + h / 2 * k1, t", "k_3 is at z + h/2 k_1"),
    ("odeint_gradients", ("        ts_bar[i] = zs_bar[i] @ f(zs[i], ts[i], theta)\n"
                          "        a, a_t = a + zs_bar[i], a_t - ts_bar[i]"),
     "        a = a + zs_bar[i]\n        ts_bar[i] = a @ f(zs[i], ts[i], theta)\n        a_t = -ts_bar[i]",
     "use the whole a after the jump, not zs_bar alone"),
    ("training_loss", "(len(betas) - 1) * weight", "(1 - betas[t - 1]) * (len(betas) - 1) * weight", "lacks its 1/α_t"),
    ("ddim_step", "(1 - alpha_bar[t] / alpha_bar[s]))", "betas[t - 1])", "σ² has β_t for 1 - ᾱ_t/ᾱ_s"),
    ("q_step", "[:, None] * x_prev, beta", "[:, None] * x_prev, tables(betas)[1][t - 1] - tables(betas)[1][t]",
     "the variance is (1 - ᾱ_t) - (1 - ᾱ_{t-1})"),
    ("discretized_gaussian_mass", "np.sum(upper + np.log1p(-np.exp(lower - upper)), axis=-1)",
     "np.sum(np.log(np.maximum(np.exp(upper) - np.exp(lower), 1e-12)), axis=-1)", "it is clamped to 1e-12"),
    ("discretized_gaussian_mass", "level / (K - 1) - 1, 1 / (K - 1)", "level / (K - 1) - 1, 1 / K", "width is 2/K"),
    ("image_bits_per_dim", "-(log_prob.mean((1, 2, 3)) + np.log(2 / (K - 1))) / np.log(2)",
     "-log_prob.mean((1, 2, 3)) / np.log(2) - np.log(2 / (K - 1))", "in nats and the rest in bits"),
    ("plu_log_det", "return positions(x) * log_det", "return x.shape[2] ** 2 * log_det", "log_det counts w² positions"),
    ("score_to_x_0", '"score": lambda: -n * value}', '"score": lambda: -value}', "√(1 - ᾱ) stands for 1 - ᾱ"),
]
TWICE = [  # two at once
    ("q_posterior", [("mean, betas[t - 1] * rest[t - 1] / rest[t]", "mean, np.log(betas[t - 1])")],
     ["the variance is β_t", "the logarithm of the variance"]),
    ("plu_forward", [("(lower @ upper)[perm]", "(lower @ upper)[np.argsort(perm)]"),
                     ("return positions(x) * log_det", "return -positions(x) * log_det")],
     ["P is read as its inverse", "log_det has the other sign"]),
    ("kl_t", [("0.5 * (snr(betas, before) - snr(betas, t)) * square", "snr(betas, t) * square / 2"),
              ("variance + 0 * x_0)", "variance**2 + 0 * x_0)")],
     ["the weight is SNR_t", "the decoder's variance is read as a standard deviation"]),
    ("elbo", [("reconstruction - prior - diffusion", "reconstruction - diffusion"),
              ("A[t - 1].T + b[t - 1], variance, eps)", "A[t - 1] + b[t - 1], variance, eps)")],
     ["the prior's KL is left out of the total", "A is applied transposed"]),
    ("training_loss", [("(len(betas) - 1) * weight", "weight / np.log(2)")],
     ["the factor T - 1 is missing", "it is in bits"]),
    ("odeint_gradients", [("ts_bar[0] = a_t", "ts_bar[0] = -a_t"),
                          ("a + zs_bar[0], a_theta", "a + zs_bar[0], -a_theta")],
     ["dL/dT0 has the other sign", "theta_bar has the other sign"]),
    ("ddim_run", [("len(times) else 0", "len(times) else 1"),
                  ("x @ A[t - 1].T + b[t - 1]\n        s", "x @ A[t - 1] + b[t - 1]\n        s")],
     ["the last step goes to ᾱ_1", "A is applied transposed"]),
]


@functools.cache
def truths():
    return vectors.read(vectors.SHIPPED)


def adapter(text):
    module = types.ModuleType("wrong")
    exec(compile(text, "wrong.py", "exec"), module.__dict__)  # noqa: S102
    return module


def verdict(name, changes):
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (found,) = check(adapter(text), only=[name], truths=truths()).verdicts
    return found


def test_the_unbroken_one_passes():
    report = check(adapter(TEXT), truths=truths())
    assert report.status == 0 and {v.status for v in report.verdicts} == {PASS}
    assert len(report.verdicts) == len(OPERATIONS)
    single = adapter(TEXT)
    single.dtype = "float32"
    assert check(single).status == 0


@pytest.mark.parametrize("name, old, new, called", WRONG, ids=[f"{name}-{called}" for name, _, _, called in WRONG])
def test_each_is_caught_and_named(name, old, new, called):
    found = verdict(name, [(old, new)])
    assert found.status == FAIL and called in found.why and found.worst > 1, found


@pytest.mark.parametrize("name, changes, called", TWICE, ids=[name for name, _, _ in TWICE])
def test_two_at_once_are_named_both(name, changes, called):
    found = verdict(name, changes)
    assert found.status == FAIL and all(part in found.why for part in called), found


def test_every_operation_hangs_in_it():
    shown = {name for name, *_ in WRONG}
    assert all("_to_" in name for name in OPERATIONS if name not in shown), set(OPERATIONS) - shown
    assert len(WRONG) + len(TWICE) >= 90
