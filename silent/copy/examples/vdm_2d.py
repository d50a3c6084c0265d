"""A diffusion model with a learned schedule on a known density: how many nats are missing?

    python examples/vdm_2d.py

Eight Gaussians on a ring in the plane. The denoiser predicts v; the schedule's end points and
shape are learned with it, all by the whole bound (prior and reconstruction depend on the schedule
too). Reported: the gap between the bound and the true log-likelihood.

Writes metrics.json, checkpoint.npz and pictures to --out: schedule.png what was learned, KL per t;
paths.png from noise to data along the probability flow; density.png the model's density, by the
flow's divergence, beside the true one.
"""
import sys

import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.ode import solve
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, GaussianDecoder, LearnedSchedule, Schedule, evaluate, flow_log_prob
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser
from refvdm.vdm.probability_flow import velocity

NAME, T, GAMMA_1, GAMMA_T, VARIANCE = "vdm_2d", 100, -6.0, 6.0, 2e-3
PICTURES = ("schedule.png", "paths.png", "density.png")
RING = Ring()


def model():
    """The denoiser's own schedule is replaced by the learned one wherever the model is used."""
    network = MLPNetwork(2, 2, hidden=96, layers=3)
    denoiser = RegressionDenoiser(network, Schedule.linear_gamma(T, GAMMA_1, GAMMA_T))
    schedule = LearnedSchedule(T, GAMMA_1, GAMMA_T, form="network")
    return VDM(denoiser, schedule, GaussianDecoder(VARIANCE))


def gap(vdm, theta, x, seed):
    """log p - ELBO for every x, nats: what the model lacks, and the bound's own gap."""
    return RING.log_prob(x) - evaluate(vdm, theta, x, seed=seed, chunk=100, progress=False).total


def train(vdm, args, checkpoint):
    rng = np.random.default_rng(args.seed)
    held_out = RING.sample(400, np.random.default_rng([args.seed, 1]))
    start = {"denoiser": vdm.denoiser.init(rng, np.float64), "schedule": vdm.schedule.init(rng)}

    def loss(theta, rng):
        x_0 = RING.sample(256, rng)
        return -np.mean(vdm.elbo_estimate(theta, x_0, rng, times="stratified").total)

    return fit(loss, start, rng, steps=args.steps, ema=EMA(0.995),
               optimizer=Adam(3e-3, cosine_steps=args.steps),
               validate=lambda theta: float(np.mean(gap(vdm, theta, held_out, args.seed))),
               validate_every=max(1, args.steps // 10),
               checkpoint=checkpoint, settings={"seed": args.seed})


# ---------------------------------------------------------------- pictures


def draw(plt, vdm, theta, args):
    rng = np.random.default_rng([args.seed, 5])
    schedule_picture(plt, vdm, theta, rng, args.out)
    paths_picture(plt, vdm, theta, rng, args.out)
    density_picture(plt, vdm, theta, args.out)


def schedule_picture(plt, vdm, theta, rng, out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    ts = np.arange(1, T + 1)
    left.plot(ts, vdm.at(theta).schedule.gamma[1:], label="learned")
    left.plot(ts, np.linspace(GAMMA_1, GAMMA_T, T), ls=":", color="0.5", label="at the start")
    left.set(xlabel="t", ylabel="γ_t = -log SNR_t")
    left.legend()
    right.plot(ts[1:], vdm.kl_per_t(theta, RING.sample(2000, rng), rng).mean(axis=1)[2:])
    right.set(xlabel="t", ylabel="KL_t, nats")
    experiment.save_picture(plt, figure, out / "schedule.png")


def paths_picture(plt, vdm, theta, rng, out):
    here = vdm.at(theta)
    gammas = here.schedule.gamma[T:0:-1]
    x_T = rng.standard_normal((300, 2))
    zs = solve(velocity(here), x_T, gammas[:: T // 20], rtol=1e-5, atol=1e-7).zs
    colours = [f"C{k}" for k in common.nearest(zs[-1], RING.means)]
    figure, axes = plt.subplots(figsize=(6, 6))
    for i, colour in enumerate(colours):
        axes.plot(*zs[:, i].T, color=colour, lw=0.5, alpha=0.7)
    axes.plot(*x_T.T, ".", color="0.6", ms=3, label="x_T")
    axes.scatter(*zs[-1].T, c=colours, s=10, zorder=3, label="x_1")
    axes.set(aspect="equal", title="probability flow, from noise to data")
    axes.legend()
    experiment.save_picture(plt, figure, out / "paths.png")


def density_picture(plt, vdm, theta, out):
    exact = common.exact_denoiser(RING, vdm.at(theta).schedule)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4))
    common.show_density(left, lambda x: exact.log_prob(x, 1), half=3.2, n=49, high=0.33)
    left.set_title("true density at the first noise level", fontsize=10)
    shown = common.show_density(
        right, lambda x: flow_log_prob(vdm, theta, x, rtol=1e-3, atol=1e-4), 3.2, 49, 0.33)
    right.set_title("the model's, by the flow's divergence", fontsize=10)
    figure.colorbar(shown, ax=[left, right])
    experiment.save_picture(plt, figure, out / "density.png")


# ---------------------------------------------------------------- the command


def trial(args):
    with experiment.Run(NAME, args, PICTURES) as folder:
        vdm = model()
        run = train(vdm, args, folder.checkpoint)

        def results():
            test = RING.sample(2000, np.random.default_rng([args.seed, 3]))
            mean, error = experiment.mean_and_error(gap(vdm, run.best, test, args.seed + 1))
            gamma = vdm.at(run.best).schedule.gamma
            return {"gap_nats": mean, "gap_standard_error": error, "gamma_1": float(gamma[1]),
                    "gamma_T": float(gamma[T]), **experiment.about(run, T=T)}

        def closing(found):
            return (f"the bound lies {found['gap_nats']:.3f} nats below the true log-likelihood "
                    f"(standard error {found['gap_standard_error']:.3f}); learned ends of gamma: "
                    f"{found['gamma_1']:.2f} and {found['gamma_T']:.2f}, "
                    f"begun at {GAMMA_1:g} and {GAMMA_T:g}")

        folder.finish(results,
                      lambda plt, found: draw(plt, vdm, run.best, args), closing)


def main(argv=None):
    return experiment.call(NAME, trial, experiment.arguments(NAME, __doc__, 6000), argv)


if __name__ == "__main__":
    sys.exit(main())
