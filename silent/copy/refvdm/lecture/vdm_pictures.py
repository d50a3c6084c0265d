"""The page's pictures of §13.4."""
import numpy as np

from ..datasets import Ring
from ..vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    Schedule,
    ancestral_path,
    elbo_forms,
    optimal_variance,
)
from ..vdm.denoiser import MixtureDenoiser
from . import loss, vdm
from .svg import FAINT, INK, ONE, PAPER, THREE, TWO, panel


def marginals(plt, rng):
    T = 24
    alpha = Schedule.cosine(T).alpha
    figure, ax = panel(plt, "q(x_t), for data of two kinds", "x", "t", (4.4, 3.3))
    x = np.linspace(-3.2, 3.2, 200)
    for k, t in enumerate(range(T, -1, -3)):
        abar = loss.alpha_bar(alpha, t)
        var = abar * 0.02 + 1 - abar
        density = sum(w * np.exp(-((x - np.sqrt(abar) * m) ** 2) / (2 * var)) / np.sqrt(var)
                      for m, w in ((-0.7, 0.66), (1.4, 0.34)))
        base = t
        height = base + 2.6 * density / max(density.max(), 1.0) ** 0.55
        ax.fill_between(x, base, height, color=PAPER, lw=0, zorder=2 * k)
        ax.plot(x, height, color=ONE if t else TWO, zorder=2 * k + 1, lw=1.3)
    z = np.random.default_rng(3)
    for start, colour in ((-0.7, THREE), (1.4, INK)):
        path = [np.array([start])]
        for t in range(1, T + 1):
            path.append(loss.q_step(path[-1], alpha, t).draw(z.standard_normal(1)))
        ax.plot(np.array(path)[:, 0], range(T + 1), color=colour, lw=0.8, zorder=99, alpha=0.8)
    ax.set_yticks(range(0, T + 1, 6))
    return [figure]


def variance(plt, rng):
    T = 60
    alpha = Schedule.linear_beta(T, 1e-3, 0.15).alpha
    figure, ax = panel(plt, "Var x_t", "t", "", (4.4, 2.6))
    ax.axhline(1, color=FAINT, lw=0.8, ls=":")
    for var_0, colour, mark in ((4.0, ONE, "s"), (1.0, INK, "o"), (0.25, TWO, "^")):
        ax.plot([vdm.variance(var_0, alpha, t)[1] for t in range(T + 1)], color=colour,
                label=f"Var x₀ = {var_0:g}")
        x = np.sqrt(var_0) * rng.choice([-1.0, 1.0], size=20_000)
        for t in range(1, T + 1):
            x = loss.reparameterise(x, alpha, t, rng.standard_normal(len(x)))
            if t % 6 == 0:
                ax.plot(t, x.var(), mark, color=colour, mfc="none")
    ax.legend()
    return [figure]


def ring(T, gamma_1=-5.0, gamma_T=5.0):
    """Eight Gaussians on a circle, and the best answer to "what was x_0" there is."""
    data, schedule = Ring(), Schedule.linear_gamma(T, gamma_1, gamma_T)
    covs = np.tile(data.variance * np.eye(2), (len(data.means), 1, 1))
    return data, schedule, MixtureDenoiser(np.ones(len(data.means)), data.means, covs, schedule)


def forms(plt, rng):
    T, points, draws = 20, 40, 60
    data, schedule, exact = ring(T)
    x_0, spread = data.sample(4000, rng), np.zeros(T + 1)
    for t in range(1, T + 1):
        mean, var = (s[t] for s in (schedule.sqrt_alpha_bar, schedule.one_minus_alpha_bar))
        x_t = mean * x_0 + np.sqrt(var) * rng.standard_normal(x_0.shape)
        spread[t] = exact.posterior_variance(x_t, t).mean()
    models = {"poor p: x̂₀ = 0": VDM(lambda theta, x, t: 0 * x, schedule, GaussianDecoder(6e-3)),
              "best p": VDM(exact, schedule, ExactDecoder(exact),
                                                   variance=optimal_variance(schedule, spread))}
    found, x_0 = [], np.repeat(data.sample(points, rng), draws, axis=0)
    for title, model in models.items():
        table = elbo_forms(model, None, x_0, rng)._asdict()
        figure, ax = panel(plt, f"Standard deviation, {title}", "nats", size=(3.55, 1.6))
        names = {"joint": "13.21", "consistency": "neighbours", "denoising": "13.24"}
        for i, name in enumerate(names):
            value = np.sqrt(table[name].reshape(points, draws).var(axis=1, ddof=1).mean())
            ax.barh(2 - i, value, color=(TWO, THREE, ONE)[i], height=0.6)
            ax.text(value, 2 - i, " 0" if value < 1e-9 else f" {value:.2g}", va="center")
        ax.set_yticks([2, 1, 0], names.values())
        ax.margins(x=0.15)
        found.append(figure)
    return found


def kl(plt, rng):
    T = 100
    figure, ax = panel(plt, "E KL_t", "t", "nats", (4.4, 2.7), yscale="log")
    schedules = {"linear in β": (Schedule.linear_beta(T, 1e-3, 0.2), TWO, "--"),
                 "cosine": (Schedule.cosine(T), THREE, "-."),
                 "linear in log SNR": (Schedule.linear_gamma(T, -7.0, 7.0), ONE, "-")}
    for label, (schedule, colour, dash) in schedules.items():
        snr, s2 = schedule.snr, 1.0
        ax.plot(np.arange(2, T + 1), 0.5 * (snr[1:-1] - snr[2:]) * s2 / (1 + s2 * snr[2:]), dash,
                color=colour, label=label)
    ax.set_ylim(1e-5, 1)
    ax.legend()
    return [figure]


def samples(plt, rng):
    T = 60
    data, schedule, exact = ring(T, -6.0, 6.0)
    model = VDM(exact, schedule, ExactDecoder(exact))
    path = dict(ancestral_path(model, None, (350, 2), rng))
    found = []
    for t, title in ((T, f"x_T, T = {T}"), (25, "x₂₅"), (0, "x₀")):
        figure, ax = panel(plt, title, size=(2.2, 2.3), aspect="equal", xlim=(-3.2, 3.2),
                           ylim=(-3.2, 3.2), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        if t == 0:
            ax.plot(*data.sample(350, rng).T, "o", color=TWO, ms=2, mew=0, alpha=0.6)
        ax.plot(*path[t].T, "o", color=ONE, ms=2, mew=0)
        found.append(figure)
    return found


ALL = marginals, variance, forms, kl, samples
