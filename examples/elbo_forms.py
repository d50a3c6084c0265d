"""What the lecture says of its bound, measured: three forms, the limit of many steps, the terms.

    python examples/elbo_forms.py          half a minute; --quick: does it run? --help: all options

1. The claim under 13.24, that the denoising form varies less than the joint form 13.21: the
   variance of one sample of each form, given x_0, for a poor, a trained and an optimal p, on eight
   Gaussians in the plane. The x_t of all three forms come from one chain; a fourth column has 13.24
   with x_t drawn independently for each t, as VDM.elbo does.
2. T to infinity: the diffusion term minus its limit falls as 1/T under linear gamma; under
   linear_beta and cosine the bound keeps a gap.
3. KL per t of the three models.

Writes metrics.json, checkpoint.npz (of the trained p) and the picture elbo_forms.png to --out.
To try next: Schedule.cosine(T) for the plane; more steps of training (which form does it help?);
other ends of gamma in part 2.
"""
# %% Options: those of the command line; in a notebook the defaults
import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, ExactDecoder, GaussianDecoder, Schedule, elbo_forms, optimal_variance
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

NAME = "elbo_forms"
args = experiment.options(experiment.arguments(NAME, __doc__, steps=2000))

# %% Three models: a p that always answers the data's mean, one that is trained, the best
RING, T, GAMMA_1, GAMMA_T = Ring(), 30, -5.0, 5.0
schedule, decoder = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T), GaussianDecoder(6e-3)


def posterior_variances(exact, draws):
    """E Var[x_0 | x_t], one number for each t (T+1,); 0 at t = 0."""
    rng, means = np.random.default_rng([args.seed, 4]), np.zeros(T + 1)
    x_0 = RING.sample(draws, rng)
    for t in range(1, T + 1):
        s = 1 / np.sqrt(1 + np.exp(-schedule.gamma[t]))
        x_t = np.sqrt(1 - s * s) * x_0 + s * rng.standard_normal(x_0.shape)
        means[t] = exact.posterior_variance(x_t, t).mean()
    return means


exact = common.exact_denoiser(RING, schedule)
poor = VDM(lambda theta, x_t, t: 0 * x_t, schedule, decoder)
network = MLPNetwork(2, 2, hidden=96, layers=3)
learner = VDM(RegressionDenoiser(network, schedule), schedule, decoder)
optimal = VDM(exact, schedule, ExactDecoder(exact), variance=optimal_variance(
    schedule, posterior_variances(exact, 2000 if args.quick else 20_000)))

# %% Training


def loss(theta, rng):
    x_0 = RING.sample(256, rng)
    return -np.mean(learner.elbo_estimate(theta, x_0, rng, times="stratified").total)


def train(run):
    rng = np.random.default_rng(args.seed)
    return run.fit(loss, learner.denoiser.init(rng, np.float64), rng, ema=EMA(0.995),
                   optimizer=Adam(3e-3, cosine_steps=args.steps),
                   validate_every=max(1, args.steps // 20), unit="nats")


# %% 1. The forms


def variances(vdm, theta, points, draws):
    """{form: its variance over the noise, a mean over x_0} and {form: its mean over everything}."""
    rng = np.random.default_rng([args.seed, 1])
    x_0 = np.repeat(RING.sample(points, rng), draws, axis=0)
    forms = elbo_forms(vdm, theta, x_0, rng)._asdict()
    forms["independent"] = vdm.elbo(theta, x_0, rng).total
    table = {name: values.reshape(points, draws) for name, values in forms.items()}
    return ({name: float(rows.var(axis=1, ddof=1).mean()) for name, rows in table.items()},
            {name: float(rows.mean()) for name, rows in table.items()})


# %% 2. Many steps, for x_0 ~ N(0, s²), where everything is known


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


# %% The picture


def forms_panel(axes, variance):
    labels = {"joint": "joint, 13.21", "consistency": "consistency",
              "denoising": "denoising, 13.24", "independent": "13.24, independent x_t"}
    shown = [v for row in variance.values() for v in row.values() if v > 1e-9]
    for i, (form, label) in enumerate(labels.items()):
        for j, row in enumerate(variance.values()):
            at = j + 0.2 * (i - 1.5)
            axes.bar(at, max(row[form], 1e-12), 0.2, color=experiment.PALETTE[i],
                     label=None if j else label)
            if row[form] <= 1e-9:
                axes.annotate("0", (at, 0.01), xycoords=("data", "axes fraction"), ha="center",
                              color=experiment.PALETTE[i])
    axes.set_xticks(range(3), [f"{name} p" for name in variance])
    axes.set(yscale="log", ylim=(0.3 * min(shown), 300 * max(shown)),
             title="Which form varies least depends on p", ylabel="variance given x_0, nats²")
    axes.legend(ncols=2, loc="upper right")


def draw(plt, found):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15.5, 4.4))
    forms_panel(left, found["variance"])
    for (name, row), style in zip(found["gap_nats"].items(), ("o-", ":", "s-", "^-")):
        middle.loglog(found["T"], row, style, ms=4, label=name)
    middle.axhline(np.euler_gamma / 2, color="0.7", lw=0.8, label="half of Euler's constant")
    middle.set(xlabel="T", ylabel="gap, nats", title="N(0, 4), all exact: linear γ closes the gap "
                                                     "as 1/T")
    middle.legend()
    x_0 = RING.sample(200 if args.quick else 2000, np.random.default_rng([args.seed, 2]))
    for name, (vdm, theta) in three().items():
        kl = vdm.kl_per_t(theta, x_0, np.random.default_rng([args.seed, 3])).mean(axis=1)
        right.plot(np.arange(2, T + 1), kl[2:], ".-", label=f"{name} p")
    right.set(yscale="log", xlabel="t", ylabel="KL_t, nats",
              title="The terms of 13.24: learning pays at small t")
    right.legend()
    return {"elbo_forms.png": figure}


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
def three():
    return {"poor": (poor, None), "trained": (learner, trained.best), "optimal": (optimal, None)}


def results():
    points, draws = (8, 60) if args.quick else (64, 200)
    measured = {name: variances(vdm, theta, points, draws)
                for name, (vdm, theta) in three().items()}
    counts, gaps = many_steps()
    return {"variance": {name: variance for name, (variance, _) in measured.items()},
            "mean": {name: mean for name, (_, mean) in measured.items()},
            "T": counts, "gap_nats": gaps, **experiment.about(trained)}


def closing(found):
    header = f"{'p':<10}{'joint 13.21':>14}{'consistency':>14}{'denoising 13.24':>17}"
    lines = [f"variance of one sample, given x_0 (T = {T}), nats²:",
             f"{header}{'independent x_t':>17}"]
    for name, row in found["variance"].items():
        lines.append(f"{name:<10}{row['joint']:>14.3g}{row['consistency']:>14.3g}"
                     f"{row['denoising']:>17.3g}{row['independent']:>17.3g}")
    last = {name: row[-1] for name, row in found["gap_nats"].items()}
    lines.append(f"gap of the bound at T = {found['T'][-1]}: {last['linear gamma']:.5f} nats with "
                 f"linear gamma (to first order {last['expansion, to first order']:.5f}), "
                 f"{last['linear_beta']:.3f} with linear_beta, {last['cosine']:.3f} with cosine")
    return "\n".join(lines)


with experiment.Run(NAME, args, ["elbo_forms.png"]) as run:
    trained = train(run)
    found = run.finish(results, draw, closing)
