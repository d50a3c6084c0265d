"""A hierarchical VAE with three levels of learned latents, on a density in the plane that is known.

    python examples/mhvae_2d.py            half a minute; --quick: does it run? --help: all options

Eight Gaussians on a ring. Encoders q(z_t | z_{t-1}) and decoders p(z_{t-1} | z_t) begin as three
steps of the diffusion 13.26 and their reverse, each with an MLP on top that changes mean and
log-variance. Then all six are trained by 13.21. So every level is in use from the first step on,
and no KL has to be annealed.

Reported: how far the bound, and the importance-weighted one, lie below the true log-likelihood, and
for each level its KL and how much of x is still open once z_t is known. Writes metrics.json,
checkpoint.npz and pictures to --out: latents.png the data on their way up to noise, and noise on
its way down to data; levels.png what each level decides.

To try next: KEEP = (0.9, 0.7, 0.5, 0.3), four levels; KEEP = (0.5,), one; encoders that stay as
they begin (a diffusion model with T = 3); Crescents() for Ring().
"""
# %% Options: those of the command line; in a notebook the defaults
import common
import numpy as np

from refvdm import experiment
from refvdm.autodiff import logsumexp
from refvdm.datasets import Ring
from refvdm.gaussian import log_normal
from refvdm.mhvae import MarkovianHVAE
from refvdm.nn import MLP
from refvdm.optim import EMA, Adam

NAME = "mhvae_2d"
args = experiment.options(experiment.arguments(NAME, __doc__, steps=6000))

# %% The model: the fraction of the variance that each step keeps at the start is α_t
RING, KEEP, HIDDEN = Ring(), (0.8, 0.6, 0.3), (48, 48)
T, DEVIATION = len(KEEP), 1.44  # of the data, in each direction


class Step:
    """N(a z + MLP_mean(z), exp(log v + MLP_log_var(z))): a linear step, and what is learned."""

    def __init__(self, name, a, v):
        self.name, self.a, self.log_v, self.net = name, a, np.log(v), MLP((2, *HIDDEN, 4))

    def init(self, rng):
        theta = self.net.init(rng)
        theta["W3"] *= 0.3  # begin near the linear step
        return theta

    def __call__(self, theta, z):
        out = self.net(theta[self.name], z)
        return self.a * z + out[..., :2], self.log_v + out[..., 2:]


def steps():
    """Encoders: z_1 = √α_1 x/s + noise, z_t = √α_t z_{t-1} + noise. Decoders: their reverse, if x
    were normal with deviation s."""
    q, p = [], []
    for t, (alpha, s) in enumerate(zip(KEEP, (DEVIATION, *[1.0] * T)), start=1):
        q.append(Step(f"q{t}", np.sqrt(alpha) / s, 1 - alpha))
        p.append(Step(f"p{t}", np.sqrt(alpha) * s, (1 - alpha) * s**2))
    return q, p


hvae = MarkovianHVAE(*steps())

# %% Training


def loss(theta, rng):
    return -np.mean(hvae.elbo(theta, RING.sample(256, rng), rng))


def validate(theta):
    x = RING.sample(4000, np.random.default_rng([args.seed, 1]))
    return -float(np.mean(hvae.elbo(theta, x, np.random.default_rng([args.seed, 2]))))


def train(run):
    rng = np.random.default_rng(args.seed)
    start = {step.name: step.init(rng) for step in (*hvae.encoders, *hvae.decoders)}
    return run.fit(loss, start, rng, optimizer=Adam(4e-3, cosine_steps=args.steps), ema=EMA(0.99),
                   validate=validate, validate_every=max(1, args.steps // 15), unit="nats")


# %% What is measured: the bound against the truth, and what each level does


def gaps(theta, n):
    """log p(x) minus the importance-weighted bounds, nats: (mean, standard error); K = 1 is the
    ELBO."""
    x = RING.sample(n, np.random.default_rng([args.seed, 3]))
    truth, rng = RING.log_prob(x), np.random.default_rng([args.seed, 4])
    return {f"K={k}": experiment.mean_and_error(truth - hvae.importance_bound(theta, x, k, rng))
            for k in (1, 10, 50)}


def log_prob(conditional, theta, given, z):
    """log N(z; conditional(given)), summed over the plane."""
    return log_normal(z, *conditional(theta, given)).sum(axis=-1)


def kl_per_level(theta, n, paths=400):
    """The KLs of 13.24 with learned encoders, nats: E KL(q(z_t | z_{t+1}, x) to p(z_t | z_{t+1}))
    for t < T, KL(q(z_T | x) to N(0, I)) for T. Their sum is what the latents tell of x.

    q(z_t | z_{t+1}, x) = q(z_{t+1} | z_t) q(z_t | x)/q(z_{t+1} | x), and q(z_t | x) is the mean of
    q(z_t | z_{t-1}) over z_{t-1} ~ q(z_{t-1} | x), here over `paths` of them.
    """
    rng = np.random.default_rng([args.seed, 5])
    x = RING.sample(n, rng)
    z = [x, *hvae.encode(theta, x, rng)]
    others = [x, *hvae.encode(theta, np.broadcast_to(x, (paths, n, 2)).reshape(-1, 2), rng)]
    log_q_x = [None, log_prob(hvae.encoders[0], theta, x, z[1])]
    for t in range(2, T + 1):
        each = log_prob(hvae.encoders[t - 1], theta, others[t - 1], np.tile(z[t], (paths, 1)))
        log_q_x.append(logsumexp(each.reshape(paths, n), axis=0) - np.log(paths))
    kls = []
    for t in range(1, T):
        log_q = log_prob(hvae.encoders[t], theta, z[t], z[t + 1]) + log_q_x[t] - log_q_x[t + 1]
        kls.append(log_q - log_prob(hvae.decoders[t], theta, z[t + 1], z[t]))
    kls.append(log_q_x[T] - log_normal(z[T], 0.0, 0.0).sum(axis=-1))
    return [float(kl.mean()) for kl in kls]


def below(theta, t, z_t, draws, rng):
    """x ~ p(x | z_t): `draws` of them for each z_t (n, 2), (n, draws, 2)."""
    z = np.repeat(z_t, draws, axis=0)
    for decoder in hvae.decoders[t - 1 :: -1]:
        mean, log_var = decoder(theta, z)
        z = mean + np.exp(0.5 * log_var) * rng.standard_normal(mean.shape)
    return z.reshape(len(z_t), draws, 2)


def chances(x):
    """How often x (n, draws, 2) belongs to each Gaussian, (n, 8)."""
    owner = common.nearest(x.reshape(-1, 2), RING.means).reshape(x.shape[:2])
    return np.stack([(owner == k).mean(axis=1) for k in range(len(RING.means))], axis=1)


def still_open(theta, n, draws=200):
    """For each t, given z_t: between how many Gaussians x still lies, exp(E H), and how far it lies
    from its mean, root mean square."""
    rng, found = np.random.default_rng([args.seed, 6]), []
    path = dict(hvae.ancestral_path(theta, (n, 2), rng))
    for t in range(1, T + 1):
        x = below(theta, t, path[t], draws, rng)
        p = chances(x)
        entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1)
        found.append({"gaussians": float(np.exp(entropy.mean())),
                      "spread": float(np.sqrt(x.var(axis=1).sum(axis=-1).mean()))})
    return found


# %% The pictures


def latents_picture(plt, theta):
    """Up by q and down by p, the same levels above each other, with the same scales."""
    rng = np.random.default_rng([args.seed, 7])
    x = RING.sample(3000, rng)
    up, down = [x, *hvae.encode(theta, x, rng)], dict(hvae.ancestral_path(theta, (3000, 2), rng))
    figure, rows = plt.subplots(2, T + 1, figsize=(3.4 * (T + 1), 7.2))
    for t, column in enumerate(rows.T):
        half = 1.1 * max(np.quantile(abs(up[t]), 0.999), np.quantile(abs(down[t]), 0.999))
        for axes, z, end, made in zip(column, (up[t], down[t]), (x, down[0]), ("from q", "from p")):
            axes.scatter(*z.T, c=colours(common.nearest(end, RING.means)), s=3, lw=0)
            name = f"z_{t} {made}" if t else f"x {made}".replace("x from q", "data x")
            common.plane(axes, half, name, coordinates(t))
            for r in (1, 2) if t == T else ():
                axes.add_patch(plt.Circle((0, 0), r, fill=False, color="0.3", lw=0.8))
    figure.suptitle("Upper row, left to right: encoders dissolve the ring. Lower row, right to "
                    "left: decoders make it from noise.\nColour: the Gaussian that x belongs to. "
                    f"Circles: one and two deviations of p(z_{T}) = N(0, I)")
    return figure


def levels_picture(plt, theta, found):
    """Where a z_t leads, and what is still open when it is held."""
    rng = np.random.default_rng([args.seed, 8])
    path, n = dict(hvae.ancestral_path(theta, (2000, 2), rng)), 15 if args.quick else 61
    owner = common.nearest(path[0], RING.means)
    held = [np.flatnonzero(owner == k)[0] for k in (0, 2, 4, 6) if k in owner]
    figure, rows = plt.subplots(2, T, figsize=(4 * T, 8.4))
    for (top, bottom), t in zip(rows.T, range(T, 0, -1)):
        half = 1.1 * np.quantile(abs(path[t]), 0.998)
        p = chances(below(theta, t, common.square(half, n).reshape(-1, 2), 40, rng))
        sheet = 1 - p.max(axis=1, keepdims=True) * (1 - colours(p.argmax(axis=1)))
        top.imshow(sheet.reshape(n, n, 3), extent=(-half, half, -half, half), origin="lower")
        top.plot(*path[t].T, ".", color="0.25", ms=1, alpha=0.5)
        top.scatter(*path[t][held].T, c=colours(owner[held]), s=70, ec="k", lw=1.2, zorder=3)
        common.plane(top, half, f"where z_{t} leads; KL {found['kl_nats'][t - 1]:.2f} nats",
                     coordinates(t))
        for i, x in zip(held, below(theta, t, path[t][held], 400, rng)):
            bottom.scatter(*x.T, color=colours([owner[i]]), s=5, lw=0)
        still = found["open"][t - 1]
        common.plane(bottom, 3.2, f"x with z_{t} held: {still['gaussians']:.1f} Gaussians open")
        for mean in RING.means:
            bottom.add_patch(plt.Circle(mean, 0.5, fill=False, color="0.6", lw=0.8))
    figure.suptitle("Above: the Gaussian that p(x | z_t) prefers, paler where it is less sure; "
                    "dots: z_t from p.\nBelow: the four marked z_t held and all beneath them drawn "
                    "anew: level by level x is decided")
    return figure


def coordinates(t):
    """What the axes of z_t are called."""
    return (f"z_{t}, first", f"z_{t}, second") if t else ("x_1", "x_2")


def colours(indices):
    """(n, 3)."""
    codes = [[int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)] for code in experiment.PALETTE]
    return np.array(codes)[indices]


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["latents.png", "levels.png"]) as run:
    trained = train(run)

    def results():
        n = 200 if args.quick else 2000
        found = gaps(trained.best, n)
        return {"gap_nats": {k: mean for k, (mean, _) in found.items()},
                "gap_standard_error": {k: error for k, (_, error) in found.items()},
                "kl_nats": kl_per_level(trained.best, n // 2),
                "open": still_open(trained.best, n // 4), **experiment.about(trained)}

    def draw(plt, found):
        return {"latents.png": latents_picture(plt, trained.best),
                "levels.png": levels_picture(plt, trained.best, found)}

    def closing(found):
        rows = [f"level {t}: KL {kl:.2f} nats; z_{t} leaves {still['gaussians']:.1f} of "
                f"{len(RING.means)} Gaussians open, and a spread of {still['spread']:.2f}"
                for t, (kl, still) in enumerate(zip(found["kl_nats"], found["open"]), start=1)]
        gap = ", ".join(f"{gap:.3f} with {name}" for name, gap in found["gap_nats"].items())
        rows.insert(0, f"the bound lies below the true log-likelihood by {gap} (nats; K = 1 is the "
                       f"ELBO)")
        return "\n".join(rows[::-1])

    found = run.finish(results, draw, closing)
