"""A diffusion model with a learned schedule on a density in the plane that is known: how many nats are missing?

    python examples/vdm_2d.py

Eight Gaussians on a ring. The denoiser predicts v, the schedule's end points and shape are learned with it, all by the whole bound
(prior and reconstruction depend on the schedule too). Reported: the gap between the bound and the true log-likelihood.

Writes metrics.json, checkpoint.npz and pictures to --out: schedule.png what was learned, KL per t; paths.png from noise to data along the
probability flow; density.png the model's density, by the flow's divergence, beside the true one.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these matrices are small: a second thread only waits

import sys

import numpy as np
from common import arguments, finished, guarded, pyplot, save_picture

from refvdm.autodiff import ravel
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.ode import solve
from refvdm.optim import EMA, Adam
from refvdm.vdm import (
    VDM,
    GaussianDecoder,
    LearnedSchedule,
    Schedule,
    evaluate,
    flow_log_prob,
)
from refvdm.vdm.denoiser import MixtureDenoiser
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser
from refvdm.vdm.probability_flow import velocity

NAME, T, GAMMA_1, GAMMA_T, VARIANCE = "vdm_2d", 100, -6.0, 6.0, 2e-3
PICTURES = ("schedule.png", "paths.png", "density.png")
RING = Ring()


def model():
    """The denoiser's own schedule is replaced by the learned one wherever the model is used."""
    denoiser = RegressionDenoiser(MLPNetwork(2, 2, hidden=96, layers=3), Schedule.linear_gamma(T, GAMMA_1, GAMMA_T))
    return VDM(denoiser, LearnedSchedule(T, GAMMA_1, GAMMA_T, form="network"), GaussianDecoder(VARIANCE))


def gap(vdm, theta, x, seed):
    """log p - ELBO for every x, nats: its mean is what the model lacks, and the bound's own looseness."""
    return RING.log_prob(x) - evaluate(vdm, theta, x, seed=seed, chunk=100, progress=False).total


def run_it(args):
    vdm, rng = model(), np.random.default_rng(args.seed)
    held_out = RING.sample(400, np.random.default_rng([args.seed, 1]))
    start = {"denoiser": vdm.denoiser.init(rng, np.float64), "schedule": vdm.schedule.init(rng)}
    run = fit(lambda theta, rng: -np.mean(vdm.elbo_estimate(theta, RING.sample(256, rng), rng, times="stratified").total), start, rng,
              steps=args.steps, optimizer=Adam(3e-3, cosine_steps=args.steps), ema=EMA(0.995),
              validate=lambda theta: float(np.mean(gap(vdm, theta, held_out, args.seed))), validate_every=max(1, args.steps // 10),
              checkpoint=args.out / "checkpoint.npz", settings={"seed": args.seed})

    def results():
        test = RING.sample(2000, np.random.default_rng([args.seed, 3]))
        missing, schedule = gap(vdm, run.best, test, args.seed + 1), vdm.at(run.best).schedule
        draw(vdm, run.best, args)
        return {"gap_nats": float(missing.mean()), "gap_standard_error": float(missing.std() / len(missing) ** 0.5),
                "gamma_1": float(schedule.gamma[1]), "gamma_T": float(schedule.gamma[T]), "T": T, "best_step": run.best_step,
                "steps": run.step, "seed": args.seed, "parameters": int(ravel(run.best)[0].size), "history": run.history}

    found = finished(args.out, results, PICTURES)
    print(f"the bound lies {found['gap_nats']:.3f} nats below the true log-likelihood (standard error {found['gap_standard_error']:.3f}); "
          f"learned ends of gamma: {found['gamma_1']:.2f} and {found['gamma_T']:.2f}, begun at {GAMMA_1:g} and {GAMMA_T:g}")


def draw(vdm, theta, args):
    plt = pyplot()
    if plt is None:
        return
    here, rng = vdm.at(theta), np.random.default_rng([args.seed, 5])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    ts = np.arange(1, T + 1)
    left.plot(ts, here.schedule.gamma[1:], label="learned")
    left.plot(ts, np.linspace(GAMMA_1, GAMMA_T, T), ls=":", color="0.5", label="at the start")
    left.set(xlabel="t", ylabel="γ_t = -log SNR_t")
    left.legend()
    right.plot(ts[1:], vdm.kl_per_t(theta, RING.sample(2000, rng), rng).mean(axis=1)[2:])
    right.set(xlabel="t", ylabel="KL_t, nats")
    save_picture(plt, figure, args.out / "schedule.png")

    # the flow's paths, seen at every tenth t
    gammas = here.schedule.gamma[1:]
    x_T = rng.standard_normal((300, 2))
    way = solve(velocity(here), x_T, gammas[::-1][:: T // 20], rtol=1e-5, atol=1e-7).zs
    colour = np.argmin(np.linalg.norm(way[-1][:, None] - RING.means, axis=-1), axis=1)
    figure, axes = plt.subplots(figsize=(6, 6))
    for i in range(len(x_T)):
        axes.plot(*way[:, i].T, color=f"C{colour[i]}", lw=0.5, alpha=0.7)
    axes.plot(*x_T.T, ".", color="0.6", ms=3, label="x_T")
    axes.scatter(*way[-1].T, c=[f"C{k}" for k in colour], s=10, zorder=3, label="x_1")
    axes.set(aspect="equal", title="probability flow, from noise to data")
    axes.legend()
    save_picture(plt, figure, args.out / "paths.png")

    axis = np.linspace(-3.2, 3.2, 49)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    exact = MixtureDenoiser(np.ones(8), RING.means, np.tile(RING.variance * np.eye(2), (8, 1, 1)), Schedule(gammas))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4))
    for a, title, p in ((axes[0], "true density at the first noise level", exact.log_prob(grid, 1)),
                        (axes[1], "the model's, by the flow's divergence", flow_log_prob(vdm, theta, grid, rtol=1e-3, atol=1e-4))):
        shown = a.imshow(np.exp(p).reshape(len(axis), -1), extent=(-3.2, 3.2, -3.2, 3.2), origin="lower", vmin=0, vmax=0.33)
        a.set_title(title, fontsize=10)
    figure.colorbar(shown, ax=axes.tolist())
    save_picture(plt, figure, args.out / "density.png", tight=False)
    print(f"pictures: {', '.join(PICTURES)}")


def main(argv=None):
    return guarded(NAME, arguments(NAME, __doc__, steps=6000).parse_args(argv), PICTURES, run_it)


if __name__ == "__main__":
    sys.exit(main())
