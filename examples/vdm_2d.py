"""A diffusion model with a learned schedule on a known density: how many nats are missing, and why?

    python examples/vdm_2d.py              a minute; --quick: does it run? --help: all options

Eight Gaussians on a ring in the plane. The denoiser predicts v; the schedule's end points and
shape are learned with it, all by the whole bound (prior and reconstruction depend on the schedule
too). Reported: the gap between the bound and the true log-likelihood, split into four parts, for
which the perfect denoiser of this density at the learned schedule is known:

    network    the bound with the perfect denoiser minus the bound with the learned one
    steps      E KL(q(x_{t-1} | x_t) to p(x_{t-1} | x_t)), t = 2..T: the reverse of a step is not
               normal; falls as 1/T, and is 0 in continuous time
    decoder    E KL(q(x_0 | x_1) to p(x_0 | x_1)): one variance for all x_1
    prior      KL(q(x_T) to N(0, I)): x_T still knows of the ring

Writes metrics.json, checkpoint.npz and pictures to --out: gap.png the schedule learned, and where
the nats are lost; paths.png from noise to data along the probability flow; density.png the flow's
density, by its divergence, beside the true one: from N(0, I), and from the true q(x_T), so that
what the prior spoils is seen apart from what the network does.

To try next: T = 20, T = 500 (which part changes?); form="table" for the schedule; a wider network;
Crescents() for Ring(), without the split.
"""
# %% Options: those of the command line; in a notebook the defaults
import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.gaussian import log_normal
from refvdm.ode import solve
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, ExactDecoder, GaussianDecoder, LearnedSchedule, Schedule, evaluate
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser
from refvdm.vdm.probability_flow import flow_log_prob, velocity

NAME = "vdm_2d"
args = experiment.options(experiment.arguments(NAME, __doc__, steps=10_000))

# %% The model; its denoiser's own schedule is replaced by the learned one wherever it is used
RING, T, GAMMA_1, GAMMA_T, VARIANCE = Ring(), 100, -6.0, 6.0, 2e-3

vdm = VDM(RegressionDenoiser(MLPNetwork(2, 2, hidden=96, layers=3),
                             Schedule.linear_gamma(T, GAMMA_1, GAMMA_T)),
          LearnedSchedule(T, GAMMA_1, GAMMA_T, form="network"), GaussianDecoder(VARIANCE))

# %% Training


def loss(theta, rng):
    x_0 = RING.sample(256, rng)
    return -np.mean(vdm.elbo_estimate(theta, x_0, rng, times="stratified").total)


def validate(theta):
    x = RING.sample(400, np.random.default_rng([args.seed, 1]))
    return -float(np.mean(evaluate(vdm, theta, x, seed=args.seed, chunk=100, progress=False).total))


def train(run):
    rng = np.random.default_rng(args.seed)
    start = {"denoiser": vdm.denoiser.init(rng, np.float64), "schedule": vdm.schedule.init(rng)}
    return run.fit(loss, start, rng, optimizer=Adam(3e-3, cosine_steps=args.steps), ema=EMA(0.995),
                   validate=validate, validate_every=max(1, args.steps // 10), unit="nats")


# %% The gap, and its parts


def split(theta, n):
    """{part: (mean, standard error)}, nats. Over 10 n test points with the perfect denoiser, of
    which n show, with the same noise, what the network and the decoder change."""
    x = RING.sample(10 * n, np.random.default_rng([args.seed, 3]))
    schedule = vdm.at(theta).schedule
    exact = common.exact_denoiser(RING, schedule)

    def bound(denoiser, decoder, theta, x):  # the noise of a point is the same in each
        return evaluate(VDM(denoiser, vdm.schedule if theta else schedule, decoder), theta, x,
                        seed=args.seed + 1, chunk=500, progress=False)

    learned = bound(vdm.denoiser, vdm.decoder, theta, x[:n])
    best = bound(exact, vdm.decoder, None, x)
    with_exact = bound(exact, ExactDecoder(exact), None, x[:n])
    x_T = noisy(x, schedule.gamma[T], np.random.default_rng([args.seed, 4]))
    found = {name: experiment.mean_and_error(part) for name, part in {
        "network": best.total[:n] - learned.total,
        "decoder": with_exact.reconstruction - best.reconstruction[:n],
        "prior": exact.log_prob(x_T, T) - log_normal(x_T, 0.0, 0.0).sum(axis=1),
        "perfect": RING.log_prob(x) - best.total}.items()}
    perfect, error = found.pop("perfect")
    steps = perfect - found["decoder"][0] - found["prior"][0]
    return {"network": found["network"], "steps": (steps, error), "decoder": found["decoder"],
            "prior": found["prior"]}


def noisy(x_0, gamma, rng):
    """x_t ~ q(x_t | x_0) of 13.28 at -log SNR = gamma."""
    a, s = 1 / np.sqrt(1 + np.exp(gamma)), 1 / np.sqrt(1 + np.exp(-gamma))
    return a * x_0 + s * rng.standard_normal(x_0.shape)


def kl_per_t(theta, n):
    """The terms of 13.24 with the learned and with the perfect denoiser, each (T+1,), nats."""
    x, schedule = RING.sample(n, np.random.default_rng([args.seed, 5])), vdm.at(theta).schedule
    perfect = VDM(common.exact_denoiser(RING, schedule), schedule, vdm.decoder)
    return [model.kl_per_t(parameters, x, np.random.default_rng([args.seed, 6])).mean(axis=1)
            for model, parameters in ((vdm, theta), (perfect, None))]


# %% The pictures


def gap_picture(plt, theta, found):
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4))
    ts, (learned, perfect) = np.arange(1, T + 1), kl_per_t(theta, 200 if args.quick else 4000)
    left.plot(ts, np.linspace(GAMMA_1, GAMMA_T, T), ls=":", color="0.5", label="at the start")
    left.plot(ts, vdm.at(theta).schedule.gamma[1:], label="learned")
    left.set(xlabel="t", ylabel="γ_t = -log SNR_t",
             title=f"It learns to end at γ_T = {found['gamma_T']:.1f}, not at {GAMMA_T:g}")
    left.legend()
    middle.plot(ts[1:], learned[2:], lw=4, alpha=0.5, label="learned denoiser")
    middle.plot(ts[1:], perfect[2:], color="k", lw=1, label="perfect denoiser")
    middle.set(xlabel="t", ylabel="KL_t, nats", ylim=(0, None),
               title="The terms of 13.24, learned and perfect")
    middle.legend()
    names = ("network", "steps", "decoder", "prior")
    means, errors = zip(*(found["gap_parts_nats"][name] for name in names))
    right.barh(names, means, xerr=errors, color=experiment.PALETTE[:4])
    right.invert_yaxis()
    right.set(xlabel="nats", title=f"Where the gap of {found['gap_nats']:.3f} nats comes from")
    return figure


def paths_picture(plt, theta):
    model, rng = vdm.at(theta), np.random.default_rng([args.seed, 7])
    x_T = rng.standard_normal((300, 2))
    gammas = model.schedule.gamma[T:0 : -(T // 50)]
    zs = solve(velocity(model), x_T, gammas, rtol=1e-5, atol=1e-7).zs
    colours = np.array(experiment.PALETTE)[common.nearest(zs[-1], RING.means)]
    figure, axes = plt.subplots(figsize=(6.4, 6.6))
    for i, colour in enumerate(colours):
        axes.plot(*zs[:, i].T, color=colour, lw=0.6, alpha=0.6)
    axes.plot(*x_T.T, "x", color="k", ms=4, mew=0.8, label="x_T, noise")
    axes.scatter(*zs[-1].T, c=colours, s=16, ec="w", lw=0.4, zorder=3, label="x_1, where it ends")
    common.plane(axes, 3.4, "The probability flow takes noise to the nearest part of the ring")
    axes.legend(loc="upper right")
    return figure


def density_picture(plt, theta):
    """At the first noise level, where the flow ends: the true density, and what the flow makes of
    the true density of x_T and of N(0, I)."""
    exact = common.exact_denoiser(RING, vdm.at(theta).schedule)
    half, n, single, x_Ts = 3.0, 15 if args.quick else 121, in_float32(theta), []

    def base(x_T):  # is asked once, for all the grid
        x_Ts.append(x_T)
        return exact.log_prob(x_T, T)

    grid = common.square(half, n).reshape(-1, 2)
    ours = flow_log_prob(vdm, single, grid.astype(np.float32), base=base, rtol=1e-3, atol=1e-4)
    from_normal = ours - exact.log_prob(x_Ts[0], T) + log_normal(x_Ts[0], 0.0, 0.0).sum(axis=1)
    figure, axes = plt.subplots(1, 3, figsize=(14.5, 4.6))
    truth, cell = exact.log_prob(grid, 1), (2 * half / (n - 1)) ** 2

    def title(name, log_p):
        away = cell * np.sum(np.exp(truth) * (truth - log_p))
        return f"the learned flow, from {name}: {away:.3f} nats away"

    common.show_densities(
        figure, axes, [np.exp(log_p).reshape(n, n) for log_p in (truth, ours, from_normal)], half,
        ["true density of x_1", title("q(x_T)", ours), title("N(0, I)", from_normal)])
    return figure


def in_float32(theta):
    return {key: in_float32(value) if isinstance(value, dict) else value.astype(np.float32)
            for key, value in theta.items()}


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["gap.png", "paths.png", "density.png"]) as run:
    trained = train(run)

    def results():
        parts = split(trained.best, 50 if args.quick else 2000)
        gamma, (means, errors) = vdm.at(trained.best).schedule.gamma, zip(*parts.values())
        return {"gap_nats": sum(means), "gap_standard_error": float(np.hypot(errors[0], errors[1])),
                "gap_parts_nats": parts,
                "gamma_1": float(gamma[1]), "gamma_T": float(gamma[T]),
                **experiment.about(trained, T=T)}

    def draw(plt, found):
        return {"gap.png": gap_picture(plt, trained.best, found),
                "paths.png": paths_picture(plt, trained.best),
                "density.png": density_picture(plt, trained.best)}

    def closing(found):
        parts = "\n".join(f"  {name:<10}{mean:>8.4f}  (standard error {error:.4f})"
                          for name, (mean, error) in found["gap_parts_nats"].items())
        return (f"learned ends of gamma: {found['gamma_1']:.2f} and {found['gamma_T']:.2f}, begun "
                f"at {GAMMA_1:g} and {GAMMA_T:g}\nof what is missing come from\n{parts}\n"
                f"the bound lies {found['gap_nats']:.3f} nats below the true log-likelihood "
                f"(standard error {found['gap_standard_error']:.3f})")

    found = run.finish(results, draw, closing)
