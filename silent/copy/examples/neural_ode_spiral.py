"""Learn the field of a spiral from samples of its path, with gradients by the adjoint ODE.

    python examples/neural_ode_spiral.py [--gradient backsolve | interpolated | discrete]

The spiral of Chen et al. (2018): dz/dt = z^3 A, A = [[-0.1, 2], [-2, -0.1]], z(0) = (2, 0), 1000
samples on [0, 25]. The model is dz/dt = MLP(z^3), trained on 20 pieces of 10 neighbouring samples
at a time by their mean absolute error (about a minute).

Then it looks at how good those gradients are, and what they cost.

Writes metrics.json, checkpoint.npz and four pictures to --out: spiral.png the data, the learned
path and field; adjoint.png a(t) on its way back; modes.png the error of the four gradient modes
against the tolerance; memory.png peak memory against the number of steps.
"""
import sys
import tracemalloc
import warnings

import common
import numpy as np

from refvdm import experiment
from refvdm.autodiff import ravel
from refvdm.fit import fit
from refvdm.ode import MLPField, ReconstructionWarning, adjoint, gradient_report, odeint, solve
from refvdm.optim import EMA, Adam

NAME = "neural_ode_spiral"
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
Z0, TS = np.array([2.0, 0.0]), np.linspace(0.0, 25.0, 1000)
BATCH, PIECE = 20, 10
PICTURES = ("spiral.png", "adjoint.png", "modes.png", "memory.png")
COLOURS = {"backsolve": "C3", "interpolated": "C1", "discrete": "C0", "forward": "C2"}


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


def true_path():
    return solve(lambda z, t, theta: (z**3) @ A, Z0, TS, rtol=1e-9, atol=1e-12).zs


def learned_path(theta):
    return solve(FIELD, Z0, TS, theta, rtol=1e-6, atol=1e-8).zs


def rms_error(theta, samples):
    """Of the learned path at all samples."""
    return float(np.sqrt(np.mean((learned_path(theta) - samples) ** 2)))


def train(samples, args, checkpoint):
    rng = np.random.default_rng(args.seed)
    ts = TS[:PIECE]  # the field does not depend on time: every piece may start at 0

    def loss(theta, rng):
        start = rng.integers(0, len(samples) - PIECE, BATCH)
        pieces = np.stack([samples[start + k] for k in range(PIECE)])
        zs = odeint(FIELD, pieces[0], ts, theta, gradient=args.gradient, rtol=1e-4, atol=1e-6)
        return np.mean(np.abs(zs - pieces))

    return fit(loss, FIELD.mlp.init(rng), rng, steps=args.steps, ema=EMA(0.99),
               optimizer=Adam(1e-2, cosine_steps=args.steps),
               validate=lambda theta: rms_error(theta, samples),
               validate_every=max(1, args.steps // 10),
               checkpoint=checkpoint, settings={"seed": args.seed, "gradient": args.gradient})


# ---------------------------------------------------------------- what the adjoint does


def probe(samples):
    """A loss that sees the learned path at six times on [0, 5]: these ts, and zs -> dL/dzs.

    L = sum_i |z(t_i) - data_i|^2 / 2, where data_i is the sample nearest in time.
    """
    ts = np.linspace(0.0, 5.0, 6)
    return ts, lambda zs: zs - np.stack([samples[np.argmin(abs(TS - t))] for t in ts])


def mode_errors(theta, samples):
    """Tolerances, and {mode: relative error of the gradient at each}.

    The measure is the gradient of the variational equation (mode "forward") at 1e-12.
    """
    ts, bar = probe(samples)
    exact_solution = solve(FIELD, Z0, ts, theta, rtol=1e-12, atol=1e-14)
    zs_bar = bar(exact_solution.zs)
    exact = flat(adjoint(FIELD, exact_solution, zs_bar, mode="forward"))
    tolerances = np.logspace(-2, -9, 8)
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


def memory(theta, counts=(25, 50, 100, 200, 400, 800)):
    """Numbers of steps, and {mode: peak KiB of solving with so many of rk4 and coming back}."""
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


# ---------------------------------------------------------------- pictures


def spiral_picture(plt, theta, samples, out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6))
    path, grid = learned_path(theta), common.square(2.2, 25)
    field = FIELD(grid, 0.0, theta)
    left.streamplot(grid[..., 0], grid[..., 1], field[..., 0], field[..., 1],
                    color="0.75", linewidth=0.7, arrowsize=0.7, density=1.2)
    left.plot(*samples[::5].T, ".", color="C2", ms=4, label="samples (every fifth)")
    left.plot(*path.T, color="C3", lw=1.2, label="learned")
    left.set(xlabel="z_1", ylabel="z_2", aspect="equal", title="learned path and field")
    left.legend(loc="lower left", fontsize=8)
    for i in range(2):
        right.plot(TS, samples[:, i], ".", color="C2", ms=2, label=("samples", None)[i])
        right.plot(TS, path[:, i], color=f"C{3 + i}", lw=1.2, label=f"learned z_{i + 1}")
    right.set(xlabel="t", title="the same against time")
    right.legend(fontsize=8)
    experiment.save_picture(plt, figure, out / "spiral.png")


def adjoint_picture(plt, theta, samples, out):
    ts, bar = probe(samples)
    solution = solve(FIELD, Z0, ts, theta, rtol=1e-8, atol=1e-10)
    way = adjoint(FIELD, solution, bar(solution.zs)).trajectory
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5.6), sharex=True)
    for i in range(2):
        top.plot(way.t, way.a[:, i], color=f"C{i}", label=f"a_{i + 1}(t) = dL/dz_{i + 1}(t)")
    bottom.plot(way.t, np.linalg.norm(way.a_theta, axis=1), color="C2",
                label="|a_θ(t)|, at t = 0 |dL/dθ|")
    bottom.plot(way.t, way.a_t, color="C4", label="a_t(t), at t = 0 dL/dts[0]")
    for axes in (top, bottom):
        for t in ts:
            axes.axvline(t, color="0.85", lw=0.8, zorder=0)
        axes.legend(fontsize=8)
    top.set_title("integrated from t = 5 back to 0; a jumps by dL/dz(t_i) where the loss looks",
                  fontsize=10)
    bottom.set_xlabel("t")
    experiment.save_picture(plt, figure, out / "adjoint.png")


def modes_picture(plt, tolerances, errors, out):
    figure, axes = plt.subplots(figsize=(6, 4.2))
    for mode, row in errors.items():
        axes.loglog(tolerances, row, ".-", color=COLOURS[mode], label=mode)
    axes.loglog(tolerances, tolerances, color="0.7", ls=":", label="error = rtol")
    axes.invert_xaxis()
    axes.set(xlabel="rtol (atol = rtol/100), dopri5", ylabel="relative error of dL/d[z0, θ, ts]")
    axes.legend()
    experiment.save_picture(plt, figure, out / "modes.png")


def memory_picture(plt, counts, peaks, out):
    figure, axes = plt.subplots(figsize=(6, 4.2))
    for mode, row in peaks.items():
        axes.loglog(counts, row, ".-", color=COLOURS[mode], label=mode)
    axes.minorticks_off()
    axes.set_xticks(counts, counts)
    axes.set_yticks([50, 100, 200, 500, 1000, 2000], [50, 100, 200, 500, 1000, 2000])
    axes.set(xlabel="steps of rk4, forward", ylabel="peak memory, KiB")
    axes.legend()
    experiment.save_picture(plt, figure, out / "memory.png")


# ---------------------------------------------------------------- the command


def trial(args):
    with experiment.Run(NAME, args, PICTURES) as folder:
        samples = true_path()
        run = train(samples, args, folder.checkpoint)

        def results():
            (tolerances, errors), (counts, peaks) = mode_errors(run.best, samples), memory(run.best)
            ts, bar = probe(samples)
            zs_bar = bar(solve(FIELD, Z0, ts, run.best).zs)
            print("the gradient of a loss at six times on [0, 5], by theta and all else, "
                  "and where its errors come from:")
            print(gradient_report(FIELD, Z0, ts, run.best, zs_bar))
            return {"rms_error": rms_error(run.best, samples),
                    **experiment.about(run, gradient=args.gradient),
                    "rtol": tolerances.tolist(), "gradient_errors": errors,
                    "memory_steps": counts, "memory_KiB": peaks}

        def draw(plt, found):
            spiral_picture(plt, run.best, samples, args.out)
            adjoint_picture(plt, run.best, samples, args.out)
            modes_picture(plt, found["rtol"], found["gradient_errors"], args.out)
            memory_picture(plt, found["memory_steps"], found["memory_KiB"], args.out)

        def closing(found):
            return (f"learned path on [0, 25]: rms error {found['rms_error']:.3f} "
                    f"(the spiral's radius goes from 2 to 0.5)")

        folder.finish(results, draw, closing)


def main(argv=None):
    parser = experiment.arguments(NAME, __doc__, steps=2000)
    parser.add_argument("--gradient", choices=list(COLOURS)[:3], default="backsolve",
                        help="mode of the gradient (default backsolve)")
    return experiment.call(NAME, trial, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
