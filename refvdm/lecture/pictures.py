"""The page's pictures: each computes what it shows, most of it with the spec itself.

A picture is a list of panels, each a small figure: they stand beside each other on a wide page and
below each other on a narrow one. text/captions.txt says what one sees.
"""
import numpy as np

from ..ode import adjoint, solve
from . import flows, neural_ode, vdm_pictures
from .adjoint import Augmented, backward
from .svg import FAINT, INK, ONE, STYLE, THREE, TWO, panel, svg


def pictures(seed=0):
    """{name: [svg, ...]}; ImportError without matplotlib."""
    import matplotlib.pyplot as plt

    drawn = {}
    for draw in (lu, resnet, adjoint_state, jump, stiffness, *vdm_pictures.ALL):
        with plt.rc_context(STYLE):
            figures = draw(plt, np.random.default_rng(seed))
            name = draw.__name__.removesuffix("_state")
            drawn[name] = [svg(plt, figure, f"{name}{i}") for i, figure in enumerate(figures)]
    return drawn


def lu(plt, rng):
    W = rng.standard_normal((8, 8))
    pivots, errors, multiples = 10.0 ** -np.arange(17), [], []
    for pivot in pivots:
        W[0, 0] = pivot
        plain, (P, L, U) = flows.lu(W), flows.plu(W)
        errors.append([np.abs(plain[0] @ plain[1] - W).max(), np.abs(P @ L @ U - W).max()])
        multiples.append([np.abs(plain[0]).max(), np.abs(L).max()])
    found = []
    for title, values in (("What the product misses W by", errors),
                          ("Largest multiple in L", multiples)):
        figure, ax = panel(plt, title, "W₁₁", xscale="log", yscale="log")
        for column, colour, mark, label in ((0, TWO, "o", "W = L U"), (1, ONE, "s", "W = P L U")):
            ax.plot(pivots, np.maximum(np.array(values)[:, column], 1e-17), color=colour,
                    marker=mark, label=label)
        ax.set_xticks(10.0 ** -np.arange(0, 17, 4))
        ax.invert_xaxis()
        ax.legend()
        found.append(figure)
    return found


def spiral(z, t, theta):
    """dz/dt = A z, a slow inward spiral, with a push that depends on t."""
    return np.array([[-0.15, -theta[0]], [theta[0], -0.15]]) @ z + np.array([0.0, theta[1] * t])


SPIRAL = neural_ode.Field(
    spiral,
    lambda z, t, theta: np.array([[-0.15, -theta[0]], [theta[0], -0.15]]),
    lambda z, t, theta: np.array([[-z[1], 0.0], [z[0], t]]),
    lambda z, t, theta: np.array([0.0, theta[1]]))
THETA, START, END = np.array([1.0, 0.1]), np.array([1.5, 0.0]), 4.0


def resnet(plt, rng):
    figure, ax = panel(plt, "States of the network, and the flow", "z₁", "z₂")
    curve = [neural_ode.ode_solver(spiral, START, 0.0, t, THETA, 40)
             for t in np.linspace(0, END, 60)]
    for n, colour, mark in ((4, TWO, "o"), (8, THREE, "s"), (16, FAINT, "^")):
        path = [neural_ode.euler(spiral, START, 0.0, END * i / n, THETA, i) if i else START
                for i in range(n + 1)]
        ax.plot(*np.array(path).T, color=colour, marker=mark, lw=1, label=f"h = 1/{n // 4}"
                if n > 4 else "h = 1, the ResNet")
    ax.plot(*np.array(curve).T, color=ONE, lw=2, label="h → 0, the ODE")
    ax.set_ylim(top=4.2)  # room for the legend
    ax.legend(ncol=2, loc="upper left")
    other, bx = panel(plt, "Distance from the flow at T1", "number of steps", xscale="log",
                      yscale="log")
    ns, exact = 2 ** np.arange(2, 11), neural_ode.ode_solver(spiral, START, 0.0, END, THETA, 4000)
    for method, colour, mark, label in ((neural_ode.euler, TWO, "o", "Euler, slope −1"),
                                        (neural_ode.ode_solver, ONE, "s", "Runge–Kutta, −4")):
        bx.plot(ns, [np.abs(method(spiral, START, 0.0, END, THETA, n) - exact).max() for n in ns],
                color=colour, marker=mark, label=label)
    bx.legend()
    return [figure, other]


def loss(z):
    return 0.5 * np.sum((z - np.array([1.0, -1.0])) ** 2)


def dloss(z):
    return z - np.array([1.0, -1.0])


def adjoint_state(plt, rng):
    figure, ax = panel(plt, "a(t), backward from T1", "t", "a")
    times, z_T1 = np.linspace(0, END, 41), neural_ode.ode_solver(spiral, START, 0, END, THETA, 400)
    state, way = Augmented(z_T1, dloss(z_T1), np.zeros(2), 0.0), []
    for t, before in zip(times[::-1], [END, *times[:0:-1]]):
        state = backward(SPIRAL, state, before, t, THETA, 10)
        way.append(state)
    ax.plot(times[::-1], [s.a for s in way], color=ONE)
    some, h = range(0, 41, 4), 1e-5
    for j, mark in enumerate("os"):
        pushed = [[loss(neural_ode.ode_solver(spiral, way[40 - i].z + e * np.eye(2)[j], times[i],
                                              END, THETA, 100)) for e in (h, -h)] for i in some]
        ax.plot(times[::4], [(up - down) / (2 * h) for up, down in pushed], mark, color=TWO,
                mfc="none", label=f"(L(z + h e{'₁₂'[j]}) − L(z − h e{'₁₂'[j]}))/2h")
    ax.plot([], [], color=ONE, label="da/dt = −a ∂f/∂z")
    ax.set_ylim(bottom=-4)  # room for the legend
    ax.legend()
    other, bx = panel(plt, "[a(t + ε) − a(t)]/ε against −a ∂f/∂z", "ε", "difference",
                      xscale="log", yscale="log")
    epsilons = 10.0 ** -np.arange(0.5, 6.5, 0.5)
    gaps = [np.abs(np.subtract(*neural_ode.quotient(dloss, SPIRAL, way[20].z, times[20], e, END,
                                                    THETA, 100))).max() for e in epsilons]
    bx.plot(epsilons, gaps, color=ONE, marker="s", label="13.12, before the limit")
    bx.plot(epsilons, gaps[0] / epsilons[0] * epsilons, color=INK, lw=0.7, ls=":", label="slope 1")
    bx.invert_xaxis()
    bx.legend()
    return [figure, other]


def jump(plt, rng):
    t, n = np.array([0.0, 1.3, 2.7, 4.0]), 30
    z = [neural_ode.ode_solver(spiral, START, 0.0, s, THETA, 400) if s else START for s in t]
    g = [0.6 * dloss(z_i) for z_i in z]
    state, rows = Augmented(None, np.zeros(2), np.zeros(2), 0.0), []
    for i in range(3, 0, -1):
        state = Augmented(z[i], state.a + g[i], state.a_theta,
                          state.a_t - g[i] @ spiral(z[i], t[i], THETA))
        grid = np.linspace(t[i], t[i - 1], n)
        rows.append((t[i], *state))
        for s, before in zip(grid[1:], grid):
            state = backward(SPIRAL, state, before, s, THETA, 4)
            rows.append((s, *state))
    found = []
    for title, column, colours in (("The adjoint state a", 2, (ONE, TWO)),
                                   ("a_θ and a_t, the collectors", 3, (ONE, TWO))):
        figure, ax = panel(plt, title, "t")
        for j, colour in enumerate(colours):
            for k in range(3):  # one stretch after another, and a dotted line for each jump
                part = rows[k * n : (k + 1) * n]
                ax.plot([r[0] for r in part], [r[column][j] for r in part], color=colour,
                        label=None if k else f"{'a' if column == 2 else 'a_θ'}{'₁₂'[j]}")
        if column == 3:
            for k in range(3):
                part = rows[k * n : (k + 1) * n]
                ax.plot([r[0] for r in part], [r[4] for r in part], color=THREE,
                        label=None if k else "a_t")
        for s in t[1:]:
            ax.axvline(s, color=FAINT, lw=0.7, ls=":")
        ax.legend()
        found.append(figure)
    return found


def stiffness(plt, rng):
    rates, table = np.array([0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12]), []
    for rate in rates:
        def f(z, t, theta):
            return np.stack([-theta * (z[0] - np.sin(t)), z[0]])

        theta = np.array(rate)
        solution = solve(f, np.array([1.0, 0.0]), [0.0, 2.0], theta)
        backsolve, exact = (_quiet(f, solution, mode) for mode in ("backsolve", "discrete"))
        table.append((np.abs(backsolve.reconstruction_error).max(),
                      abs(backsolve.theta / exact.theta - 1)))
    found = []
    for title, values in (("z(T0), recomputed backward: error", [row[0] for row in table]),
                          ("dL/dθ, backward: relative error", [row[1] for row in table])):
        figure, ax = panel(plt, title, "stiffness θ", yscale="log")
        ax.plot(rates, values, color=ONE, marker="s")
        found.append(figure)
    return found


def _quiet(f, solution, mode):
    """`adjoint` where it is meant to go wrong."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return adjoint(f, solution, np.array([[0.0, 0.0], [0.0, 1.0]]), mode=mode)
