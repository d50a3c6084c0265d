"""Learn the field of a spiral from samples of its path, with gradients by the adjoint ODE.

    python examples/neural_ode_spiral.py   a minute; --quick: does it run? --help: all options
                                           --gradient backsolve | interpolated | discrete

The spiral of Chen et al. (2018): dz/dt = z^3 A, A = [[-0.1, 2], [-2, -0.1]], z(0) = (2, 0), 1000
samples on [0, 25]. The model is dz/dt = MLP(z^3), trained on 20 pieces of 10 neighbouring samples
at a time by their mean absolute error. Then it looks at how good those gradients are, and what they
cost.

Writes metrics.json, checkpoint.npz and pictures to --out: spiral.png the data, the learned path and
field; adjoint.png a(t) on its way back; gradients.png the error of the four gradient modes against
the tolerance, and peak memory against the number of steps.

To try next: --gradient discrete (what changes, and what does not?); MLP(z) in place of MLP(z^3);
noise on the samples; longer pieces; method="rk4", step=0.05 in `loss`.
"""
# %% Options: those of the command line; in a notebook the defaults
import tracemalloc
import warnings

import common
import numpy as np

from refvdm import experiment
from refvdm.autodiff import ravel
from refvdm.ode import MLPField, ReconstructionWarning, adjoint, gradient_report, odeint, solve
from refvdm.optim import EMA, Adam

NAME = "neural_ode_spiral"
COLOURS = {"backsolve": "C1", "interpolated": "C4", "discrete": "C0", "forward": "C2"}
parser = experiment.arguments(NAME, __doc__, steps=2000)
parser.add_argument("--gradient", choices=list(COLOURS)[:3], default="backsolve",
                    help="mode of the gradient (default backsolve)")
args = experiment.options(parser)

# %% The data: the path of a known field
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
Z0, TS = np.array([2.0, 0.0]), np.linspace(0.0, 25.0, 1000)
samples = solve(lambda z, t, theta: (z**3) @ A, Z0, TS, rtol=1e-9, atol=1e-12).zs


# %% The model
class CubedField:
    """f(z, t, theta) = MLP(z^3); its pullback is the MLP's and, by hand, d(z^3) = 3 z^2 dz."""

    def __init__(self):
        self.mlp = MLPField((2, 50, 2))

    def __call__(self, z, t, theta):
        return self.mlp(z**3, t, theta)

    def vjp(self, z, t, theta, a):
        dz, cubed_bar, theta_bar, t_bar = self.mlp.vjp(z**3, t, theta, a)
        return dz, 3 * z**2 * cubed_bar, theta_bar, t_bar


FIELD = CubedField()


def learned_path(theta):
    return solve(FIELD, Z0, TS, theta, rtol=1e-6, atol=1e-8).zs


# %% Training: the field does not depend on time, so that every piece may start at 0
BATCH, PIECE = 20, 10


def loss(theta, rng):
    start = rng.integers(0, len(samples) - PIECE, BATCH)
    pieces = np.stack([samples[start + k] for k in range(PIECE)])
    zs = odeint(FIELD, pieces[0], TS[:PIECE], theta, gradient=args.gradient, rtol=1e-4, atol=1e-6)
    return np.mean(np.abs(zs - pieces))


def validate(theta):
    """The mean absolute error of the whole path, at all samples."""
    return float(np.mean(np.abs(learned_path(theta) - samples)))


def train(run):
    rng = np.random.default_rng(args.seed)
    return run.fit(loss, FIELD.mlp.init(rng), rng, optimizer=Adam(1e-2, cosine_steps=args.steps),
                   ema=EMA(0.99), validate=validate, validate_every=max(1, args.steps // 10),
                   unit="mean |z error|")


# %% What the adjoint does


def probe():
    """A loss that sees the learned path at six times up to t = 5: these ts, and zs -> dL/dzs.

    L = sum_i |z(t_i) - data_i|^2 / 2, where data_i is the sample nearest in time.
    """
    ts = np.linspace(0.0, 1.0 if args.quick else 5.0, 6)
    return ts, lambda zs: zs - np.stack([samples[np.argmin(abs(TS - t))] for t in ts])


def mode_errors(theta):
    """Tolerances, and {mode: relative error of the gradient at each}.

    The measure is the gradient of the variational equation (mode "forward") at 1e-12.
    """
    ts, bar = probe()
    exact_solution = solve(FIELD, Z0, ts, theta, rtol=1e-12, atol=1e-14)
    zs_bar = bar(exact_solution.zs)
    exact = flat(adjoint(FIELD, exact_solution, zs_bar, mode="forward"))
    tolerances = np.logspace(-2, -9, 8)[:: 5 if args.quick else 1]
    errors = {mode: [] for mode in COLOURS}
    for rtol in tolerances:
        solution = solve(FIELD, Z0, ts, theta, rtol=rtol, atol=rtol / 100)
        for mode, row in errors.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReconstructionWarning)  # the picture shows it
                found = adjoint(FIELD, solution, zs_bar, mode=mode, trajectory=False)
            row.append(float(np.linalg.norm(flat(found) - exact) / np.linalg.norm(exact)))
    return tolerances, errors


def flat(gradient):
    """dL/d[z0, theta, ts] as one vector."""
    return np.concatenate([gradient.z0, ravel(gradient.theta)[0], gradient.ts])


def memory(theta):
    """Numbers of steps, and {mode: peak KiB of solving with so many of rk4 and coming back}."""
    counts = (25, 200) if args.quick else (25, 50, 100, 200, 400, 800)
    z0 = np.random.default_rng(0).standard_normal((BATCH, 2))
    peaks = {"backsolve": [], "discrete": []}
    for mode, row in peaks.items():
        for n in counts:
            tracemalloc.start()
            solution = solve(FIELD, z0, [0.0, 1.0], theta, method="rk4", step=1 / n,
                             dense=mode == "discrete")
            adjoint(FIELD, solution, np.ones_like(solution.zs), mode=mode, trajectory=False)
            row.append(tracemalloc.get_traced_memory()[1] / 1024)
            tracemalloc.stop()
    return counts, peaks


# %% The pictures


def spiral_picture(plt, theta, found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), width_ratios=(1, 1.2))
    path, grid = learned_path(theta), common.square(2.2, 25)
    field = FIELD(grid, 0.0, theta)
    left.streamplot(grid[..., 0], grid[..., 1], field[..., 0], field[..., 1],
                    color="0.78", linewidth=0.7, arrowsize=0.7, density=1.2)
    left.plot(*samples[::5].T, ".", color="k", ms=4, label="samples (every fifth)")
    left.plot(*path.T, color="C1", lw=1.4, label="learned path")
    left.set(xlabel="z_1", ylabel="z_2", aspect="equal", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2),
             title="The learned field and path")
    left.legend(loc="lower left", frameon=True)
    for i in range(2):
        right.plot(TS[::3], samples[::3, i], ".", color="k", ms=3, label=("samples", None)[i])
        right.plot(TS, path[:, i], color=f"C{i}", lw=1.4, label=f"learned z_{i + 1}")
    right.set(xlabel="t", ylabel="z", ylim=(-2.2, 3),
              title=f"The same against time: rms error {found['rms_error']:.3f}")
    right.legend(ncols=3, loc="upper right")
    return figure


def adjoint_picture(plt, theta):
    ts, bar = probe()
    solution = solve(FIELD, Z0, ts, theta, rtol=1e-8, atol=1e-10)
    way = adjoint(FIELD, solution, bar(solution.zs)).trajectory
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.6, 5.8), sharex=True)
    for i in range(2):
        top.plot(way.t, way.a[:, i], label=f"a_{i + 1}(t) = dL/dz_{i + 1}(t)")
    bottom.plot(way.t, np.linalg.norm(way.a_theta, axis=1), color="C2",
                label="|a_θ(t)|, at t = 0 |dL/dθ|")
    bottom.plot(way.t, way.a_t, color="C3", label="a_t(t), at t = 0 dL/dts[0]")
    for axes in (top, bottom):
        for t in ts:
            axes.axvline(t, color="0.85", lw=0.8, zorder=0)
        axes.legend()
    top.set(ylabel="dL/dz", title="Read from right to left: a jumps by dL/dz(t_i) where the loss "
                                  "looks (grey)")
    bottom.set(xlabel="t", ylabel="dL/dθ, dL/dt", title="What it gathers on the way, 13.15")
    return figure


def gradients_picture(plt, found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
    for mode, row in found["gradient_errors"].items():
        left.loglog(found["rtol"], row, ".-", color=COLOURS[mode], label=mode)
    left.loglog(found["rtol"], found["rtol"], color="0.6", ls=":", label="error = rtol")
    left.invert_xaxis()
    left.set(xlabel="rtol (atol = rtol/100), dopri5", ylabel="relative error of dL/d[z0, θ, ts]",
             title="All four modes gain with the tolerance")
    left.legend()
    for mode, row in found["memory_KiB"].items():
        right.loglog(found["memory_steps"], row, ".-", color=COLOURS[mode], label=mode)
    right.minorticks_off()
    right.set_xticks(found["memory_steps"], found["memory_steps"])
    right.set_yticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, 1000, 2000])
    right.set(xlabel="steps of rk4, forward", ylabel="peak memory, KiB",
              title="Backsolve keeps no path: its memory is flat")
    right.legend()
    return figure


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["spiral.png", "adjoint.png", "gradients.png"]) as run:
    trained = train(run)
    theta = trained.best

    def results():
        (tolerances, errors), (counts, peaks) = mode_errors(theta), memory(theta)
        ts, bar = probe()
        print(f"the gradient of a loss at six times on [0, {ts[-1]:g}], by theta and all else, "
              "and where its errors come from:")
        print(gradient_report(FIELD, Z0, ts, theta, bar(solve(FIELD, Z0, ts, theta).zs)))
        error = float(np.sqrt(np.mean((learned_path(theta) - samples) ** 2)))
        return {"rms_error": error, **experiment.about(trained, gradient=args.gradient),
                "rtol": tolerances.tolist(), "gradient_errors": errors,
                "memory_steps": counts, "memory_KiB": peaks}

    def draw(plt, found):
        return {"spiral.png": spiral_picture(plt, theta, found),
                "adjoint.png": adjoint_picture(plt, theta),
                "gradients.png": gradients_picture(plt, found)}

    def closing(found):
        return (f"learned path on [0, 25]: rms error {found['rms_error']:.3f} "
                f"(the spiral's radius goes from 2 to 0.5)")

    found = run.finish(results, draw, closing)
