"""What the lecture says of its bound, measured: three forms, the limit of many steps, the terms one by one.

    python examples/elbo_forms.py

1. The claim under 13.24, that the denoising form varies less than the joint form 13.21: the variance of one sample of each form,
   given x_0, for a poor, a trained and an optimal p, on eight Gaussians in the plane. The x_t of all three come from one chain; a fourth
   column has 13.24 with x_t drawn independently for each t, as VDM.elbo does.
2. T to infinity: the diffusion term minus its limit falls as 1/T under linear gamma; under linear_beta and cosine the bound keeps a gap.
3. KL per t of the three models.

Writes metrics.json, checkpoint.npz (of the trained p) and the picture elbo_forms.png to --out.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these matrices are small: a second thread only waits

import sys

import numpy as np
from common import arguments, finished, guarded, pyplot, save_picture

from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.optim import EMA, Adam
from refvdm.vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    Schedule,
    elbo_forms,
    optimal_variance,
)
from refvdm.vdm.denoiser import MixtureDenoiser
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

NAME, T, GAMMA_1, GAMMA_T = "elbo_forms", 30, -5.0, 5.0
PICTURES = ("elbo_forms.png",)
RING = Ring()


# ---------------------------------------------------------------- three models


def models(args):
    """{name: (vdm, theta)}: a p that answers the data's mean whatever it sees, one that was trained, the best there is."""
    schedule, rng = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T), np.random.default_rng(args.seed)
    network = RegressionDenoiser(MLPNetwork(2, 2, hidden=96, layers=3), schedule)
    learner = VDM(network, schedule, GaussianDecoder(6e-3))
    start = network.init(rng, np.float64)
    run = fit(lambda theta, rng: -np.mean(learner.elbo_estimate(theta, RING.sample(256, rng), rng, times="stratified").total), start, rng,
              steps=args.steps, optimizer=Adam(3e-3, cosine_steps=args.steps), ema=EMA(0.995), checkpoint=args.out / "checkpoint.npz",
              settings={"seed": args.seed}, validate_every=args.steps)
    exact = MixtureDenoiser(np.ones(8), RING.means, np.tile(RING.variance * np.eye(2), (8, 1, 1)), schedule)
    x_0 = RING.sample(20_000, rng)
    spread = np.zeros(T + 1)
    for t in range(1, T + 1):  # E Var[x_0 given x_t], one number for each t
        s = 1 / np.sqrt(1 + np.exp(-schedule.gamma[t]))
        x_t = np.sqrt(1 - s * s) * x_0 + s * rng.standard_normal(x_0.shape)
        spread[t] = exact.posterior_variance(x_t, t).mean()
    best = VDM(exact, schedule, ExactDecoder(exact), variance=optimal_variance(schedule, spread))
    blind = VDM(lambda theta, x_t, t: 0 * x_t, schedule, GaussianDecoder(6e-3))
    return {"poor": (blind, None), "trained": (learner, run.best), "optimal": (best, None)}


def variances(vdm, theta, seed, points=64, draws=200):
    """{form: its variance over the noise, a mean over x_0} and {form: mean of the form, over all}."""
    rng = np.random.default_rng(seed)
    x_0 = np.repeat(RING.sample(points, rng), draws, axis=0)
    forms = elbo_forms(vdm, theta, x_0, rng)._asdict() | {"independent": vdm.elbo(theta, x_0, rng).total}
    table = {name: values.reshape(points, draws) for name, values in forms.items()}
    return ({name: float(values.var(axis=1, ddof=1).mean()) for name, values in table.items()},
            {name: float(values.mean()) for name, values in table.items()})


# ---------------------------------------------------------------- many steps, in closed form on N(0, s²)


def gap_of(schedule, s2):
    """Mean of -ELBO minus entropy, minus KL(q(x_T) to N(0, 1)), nats, for x_0 ~ N(0, s2), the best x_0 hat, decoder and q's variance.

    = sum_t KL_t - 1/2 log[(1 + s² SNR_1)/(1 + s² SNR_T)], KL_t = (SNR_{t-1} - SNR_t)/2 s²/(1 + s² SNR_t).
    """
    snr = schedule.snr[1:]
    return float(0.5 * np.sum((snr[:-1] - snr[1:]) * s2 / (1 + s2 * snr[1:])) - 0.5 * np.log((1 + s2 * snr[0]) / (1 + s2 * snr[-1])))


def many_steps():
    counts = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    s2, (low, high) = 4.0, (-7.0, 6.0)
    limit = np.linspace(low, high, 100_001)
    # gap = d/2 * 1/2 integral of exp(-gamma) mse'(gamma), mse = s²/(1 + s² SNR), mse' = mse² SNR
    mse = s2 / (1 + s2 * np.exp(-limit))
    slope = 0.5 * np.sum((np.exp(-limit) * mse**2 * np.exp(-limit))[1:] * np.diff(limit))
    rows = {"linear gamma": [gap_of(Schedule.linear_gamma(T, low, high), s2) for T in counts],
            "expansion, to first order": [0.5 * (high - low) / (T - 1) * float(slope) for T in counts],
            "linear_beta": [gap_of(Schedule.linear_beta(T), s2) for T in counts],
            "cosine": [gap_of(Schedule.cosine(T), s2) for T in counts]}
    return counts, rows


# ---------------------------------------------------------------- the command


def run_it(args):
    three = models(args)

    def results():
        measured = {name: variances(vdm, theta, [args.seed, 1]) for name, (vdm, theta) in three.items()}
        counts, gaps = many_steps()
        kl = {name: vdm.kl_per_t(theta, RING.sample(2000, np.random.default_rng([args.seed, 2])), np.random.default_rng([args.seed, 3])).mean(axis=1)
              for name, (vdm, theta) in three.items()}
        found = {"variance": {name: m[0] for name, m in measured.items()}, "mean": {name: m[1] for name, m in measured.items()},
                 "T": counts, "gap_nats": gaps, "seed": args.seed, "steps": args.steps}
        draw(found, kl, args)
        return found

    found = finished(args.out, results, PICTURES)
    print(f"variance of one sample, given x_0 (T = {T}):")
    print(f"{'p':<10}{'joint 13.21':>14}{'consistency':>14}{'denoising 13.24':>17}{'independent x_t':>17}")
    for name, row in found["variance"].items():
        print(f"{name:<10}{row['joint']:>14.3g}{row['consistency']:>14.3g}{row['denoising']:>17.3g}{row['independent']:>17.3g}")
    last = {name: row[-1] for name, row in found["gap_nats"].items()}
    print(f"gap of the bound at T = {found['T'][-1]}: {last['linear gamma']:.5f} nats with linear gamma (to first order "
          f"{last['expansion, to first order']:.5f}), {last['linear_beta']:.3f} with linear_beta, {last['cosine']:.3f} with cosine")


def draw(found, kl, args):
    plt = pyplot()
    if plt is None:
        return
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.2))
    names = {"joint": "joint, 13.21", "consistency": "consistency", "denoising": "denoising, 13.24", "independent": "13.24, independent x_t"}
    for i, (form, label) in enumerate(names.items()):
        axes[0].bar(np.arange(3) + 0.2 * (i - 1.5), [row[form] for row in found["variance"].values()], 0.2, label=label)
    axes[0].set_xticks(range(3), list(found["variance"]))
    axes[0].set(yscale="log", ylim=(0.03, 5e4), ylabel="variance given x_0, nats² (0 where there is no bar)", title="one sample of each form of the bound")
    axes[0].legend(fontsize=8)
    for (name, row), style in zip(found["gap_nats"].items(), ("o-", ":", "s-", "^-")):
        axes[1].loglog(found["T"], row, style, ms=4, label=name)
    axes[1].axhline(np.euler_gamma / 2, color="0.7", lw=0.8, label="half of Euler's constant")
    axes[1].set(xlabel="T", ylabel="gap, nats", title="the bound's gap on N(0, 4), everything exact")
    axes[1].legend(fontsize=8)
    for name, row in kl.items():
        axes[2].plot(np.arange(2, T + 1), row[2:], ".-", label=name)
    axes[2].set(yscale="log", xlabel="t", ylabel="KL_t, nats", title="the terms of 13.24")
    axes[2].legend()
    save_picture(plt, figure, args.out / "elbo_forms.png")
    print(f"pictures: {', '.join(PICTURES)}")


def main(argv=None):
    return guarded(NAME, arguments(NAME, __doc__, steps=2000).parse_args(argv), PICTURES, run_it)


if __name__ == "__main__":
    sys.exit(main())
