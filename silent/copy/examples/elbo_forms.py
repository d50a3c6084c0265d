"""What the lecture says of its bound, measured: three forms, the limit of many steps, the terms.

    python examples/elbo_forms.py

1. The claim under 13.24, that the denoising form varies less than the joint form 13.21: the
   variance of one sample of each form, given x_0, for a poor, a trained and an optimal p, on eight
   Gaussians in the plane. The x_t of all three forms come from one chain; a fourth column has 13.24
   with x_t drawn independently for each t, as VDM.elbo does.
2. T to infinity: the diffusion term minus its limit falls as 1/T under linear gamma; under
   linear_beta and cosine the bound keeps a gap.
3. KL per t of the three models.

Writes metrics.json, checkpoint.npz (of the trained p) and the picture elbo_forms.png to --out.
"""
import sys

import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, ExactDecoder, GaussianDecoder, Schedule, elbo_forms, optimal_variance
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

NAME, T, GAMMA_1, GAMMA_T = "elbo_forms", 30, -5.0, 5.0
PICTURES = ("elbo_forms.png",)
RING = Ring()


# ---------------------------------------------------------------- three models


def models(args, checkpoint):
    """{name: (vdm, theta)}: a p that always answers the data's mean, a trained one, the best."""
    schedule, rng = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T), np.random.default_rng(args.seed)
    decoder = GaussianDecoder(6e-3)
    learner = VDM(RegressionDenoiser(MLPNetwork(2, 2, hidden=96, layers=3), schedule),
                  schedule, decoder)
    theta = train(learner, rng, args, checkpoint)
    exact = common.exact_denoiser(RING, schedule)
    variance = optimal_variance(schedule, posterior_variances(exact, schedule, rng))
    return {"poor": (VDM(lambda theta, x_t, t: 0 * x_t, schedule, decoder), None),
            "trained": (learner, theta),
            "optimal": (VDM(exact, schedule, ExactDecoder(exact), variance=variance), None)}


def train(vdm, rng, args, checkpoint):
    def loss(theta, rng):
        x_0 = RING.sample(256, rng)
        return -np.mean(vdm.elbo_estimate(theta, x_0, rng, times="stratified").total)

    return fit(loss, vdm.denoiser.init(rng, np.float64), rng, steps=args.steps, ema=EMA(0.995),
               optimizer=Adam(3e-3, cosine_steps=args.steps), validate_every=args.steps,
               checkpoint=checkpoint, settings={"seed": args.seed}).best


def posterior_variances(exact, schedule, rng):
    """E Var[x_0 | x_t], one number for each t (T+1,), from 20 000 draws; 0 at t = 0."""
    x_0, means = RING.sample(20_000, rng), np.zeros(T + 1)
    for t in range(1, T + 1):
        s = 1 / np.sqrt(1 + np.exp(-schedule.gamma[t]))
        x_t = np.sqrt(1 - s * s) * x_0 + s * rng.standard_normal(x_0.shape)
        means[t] = exact.posterior_variance(x_t, t).mean()
    return means


def variances(vdm, theta, seed, points=64, draws=200):
    """{form: its variance over the noise, a mean over x_0} and {form: its mean over everything}."""
    rng = np.random.default_rng(seed)
    x_0 = np.repeat(RING.sample(points, rng), draws, axis=0)
    forms = elbo_forms(vdm, theta, x_0, rng)._asdict()
    forms["independent"] = vdm.elbo(theta, x_0, rng).total
    table = {name: values.reshape(points, draws) for name, values in forms.items()}
    return ({name: float(rows.var(axis=1, ddof=1).mean()) for name, rows in table.items()},
            {name: float(rows.mean()) for name, rows in table.items()})


# ---------------------------------------------------------------- many steps, x_0 ~ N(0, s²)


def gap_of(schedule, s2):
    """The mean of -ELBO minus the entropy of x_0, minus KL(q(x_T) to N(0, 1)), nats.

    For x_0 ~ N(0, s²), the best denoiser and decoder, and p(x_{t-1} | x_t) with the variance of
    q(x_{t-1} | x_t, x_0) it is sum_t KL_t - 1/2 log[(1 + s² SNR_1)/(1 + s² SNR_T)], where
    KL_t = (SNR_{t-1} - SNR_t)/2 s²/(1 + s² SNR_t).
    """
    snr = schedule.snr[1:]
    kl = (snr[:-1] - snr[1:]) * s2 / (1 + s2 * snr[1:])
    return float(0.5 * np.sum(kl) - 0.5 * np.log((1 + s2 * snr[0]) / (1 + s2 * snr[-1])))


def many_steps():
    """T, and {schedule: its gap at each T}."""
    counts = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    s2, (low, high) = 4.0, (-7.0, 6.0)
    # to first order in the step d = (high - low)/(T - 1): gap = d/2 slope, with
    # slope = 1/2 integral of SNR mse' dgamma, mse = s²/(1 + s² SNR), mse' = mse² SNR
    gamma = np.linspace(low, high, 100_001)
    mse = s2 / (1 + s2 * np.exp(-gamma))
    slope = 0.5 * float(np.sum((np.exp(-gamma) * mse**2 * np.exp(-gamma))[1:] * np.diff(gamma)))
    return counts, {
        "linear gamma": [gap_of(Schedule.linear_gamma(T, low, high), s2) for T in counts],
        "expansion, to first order": [0.5 * (high - low) / (T - 1) * slope for T in counts],
        "linear_beta": [gap_of(Schedule.linear_beta(T), s2) for T in counts],
        "cosine": [gap_of(Schedule.cosine(T), s2) for T in counts]}


# ---------------------------------------------------------------- pictures


def draw(plt, three, found, args):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.2))
    forms_panel(left, found["variance"])
    for (name, row), style in zip(found["gap_nats"].items(), ("o-", ":", "s-", "^-")):
        middle.loglog(found["T"], row, style, ms=4, label=name)
    middle.axhline(np.euler_gamma / 2, color="0.7", lw=0.8, label="half of Euler's constant")
    middle.set(xlabel="T", ylabel="gap, nats", title="the bound's gap on N(0, 4), everything exact")
    middle.legend(fontsize=8)
    for name, (vdm, theta) in three.items():
        x_0 = RING.sample(2000, np.random.default_rng([args.seed, 2]))
        kl = vdm.kl_per_t(theta, x_0, np.random.default_rng([args.seed, 3])).mean(axis=1)
        right.plot(np.arange(2, T + 1), kl[2:], ".-", label=name)
    right.set(yscale="log", xlabel="t", ylabel="KL_t, nats", title="the terms of 13.24")
    right.legend()
    experiment.save_picture(plt, figure, args.out / "elbo_forms.png")


def forms_panel(axes, variance):
    labels = {"joint": "joint, 13.21", "consistency": "consistency",
              "denoising": "denoising, 13.24", "independent": "13.24, independent x_t"}
    for i, (form, label) in enumerate(labels.items()):
        heights = [row[form] for row in variance.values()]
        axes.bar(np.arange(3) + 0.2 * (i - 1.5), heights, 0.2, label=label)
    axes.set_xticks(range(3), list(variance))
    axes.set(yscale="log", ylim=(0.03, 5e4), title="one sample of each form of the bound",
             ylabel="variance given x_0, nats² (0 where there is no bar)")
    axes.legend(fontsize=8)


# ---------------------------------------------------------------- the command


def trial(args):
    with experiment.Run(NAME, args, PICTURES) as folder:
        three = models(args, folder.checkpoint)

        def results():
            measured = {name: variances(vdm, theta, [args.seed, 1])
                        for name, (vdm, theta) in three.items()}
            counts, gaps = many_steps()
            return {"variance": {name: variance for name, (variance, _) in measured.items()},
                    "mean": {name: mean for name, (_, mean) in measured.items()},
                    "T": counts, "gap_nats": gaps, "steps": args.steps}

        folder.finish(results,
                      lambda plt, found: draw(plt, three, found, args), closing)


def closing(found):
    header = f"{'p':<10}{'joint 13.21':>14}{'consistency':>14}{'denoising 13.24':>17}"
    lines = [f"variance of one sample, given x_0 (T = {T}):", f"{header}{'independent x_t':>17}"]
    for name, row in found["variance"].items():
        lines.append(f"{name:<10}{row['joint']:>14.3g}{row['consistency']:>14.3g}"
                     f"{row['denoising']:>17.3g}{row['independent']:>17.3g}")
    last = {name: row[-1] for name, row in found["gap_nats"].items()}
    lines.append(f"gap of the bound at T = {found['T'][-1]}: {last['linear gamma']:.5f} nats with "
                 f"linear gamma (to first order {last['expansion, to first order']:.5f}), "
                 f"{last['linear_beta']:.3f} with linear_beta, {last['cosine']:.3f} with cosine")
    return "\n".join(lines)


def main(argv=None):
    return experiment.call(NAME, trial, experiment.arguments(NAME, __doc__, 2000), argv)


if __name__ == "__main__":
    sys.exit(main())
