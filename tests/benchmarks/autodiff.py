"""One gradient here and in HIPS autograd, side by side in one run: what recording costs.

    python tests/benchmarks/autodiff.py [--rounds 30]

value_and_grad of small functions of ten doubles, where the arithmetic costs next to nothing:
    sum         one node
    sum tanh    two nodes
    chain       100 nodes in a row
    tree        a dict of eight arrays, every one used once in twelve nodes
Beside it a field's pullback: f, a df/dz, a df/dtheta, a df/dt of an MLP 2-50-2 with 20 rows, once
through the engine and once through the backward pass that MLPField brings.

The contestants take turns, a round each; printed are the median times and the medians of the ratios
round by round, so that a change of the machine's speed meets both. autograd is left out when it is
not installed.
"""
import argparse
import functools
import statistics
import time

import numpy as np

from refvdm.autodiff import value_and_grad
from refvdm.nn import MLP
from refvdm.ode import MLPField
from refvdm.ode.linearise import LinearisedField


def losses(np):
    """The same functions in the NumPy that is given."""

    def chain(x):
        for _ in range(33):
            x = np.tanh(x) * 0.9 + 0.1
        return np.sum(x)

    def tree(p):
        return sum(np.sum(p[f"W{i}"] * p[f"b{i}"]) for i in range(1, 5))

    return {"sum": np.sum, "sum tanh": lambda x: np.sum(np.tanh(x)), "chain": chain, "tree": tree}


def turns(contestants, rounds, count):
    """{name: [seconds per call, one for each round]}; the first round warms up."""
    times = {name: [] for name in contestants}
    for r in range(rounds + 1):
        for name, run in contestants.items():
            began = time.perf_counter()
            for _ in range(count):
                run()
            if r:
                times[name].append((time.perf_counter() - began) / count)
    return times


def report(title, times):
    ours, *others = times
    print(f"{title:<12}{ours} {statistics.median(times[ours]) * 1e6:.1f} us", end="")
    for name in others:
        ratio = statistics.median(a / b for a, b in zip(times[ours], times[name], strict=True))
        print(f"; {ratio:.2f}x the time of {name}", end="")
    print(flush=True)


def gradients(rounds):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(10)
    theta = {f"{name}{i}": rng.standard_normal(10) for i in range(1, 5) for name in "Wb"}
    libraries = {"refvdm": (value_and_grad, losses(np))}
    try:
        import autograd
        libraries["autograd"] = (autograd.value_and_grad, losses(autograd.numpy))
    except ImportError as error:
        print(f"left out autograd: {error}")
    for name in losses(np):
        argument = theta if name == "tree" else x
        runs = {library: functools.partial(differentiate(functions[name]), argument)
                for library, (differentiate, functions) in libraries.items()}
        report(name, turns(runs, rounds, 20 if name == "chain" else 200))


def pullback(rounds):
    rng, net, field = np.random.default_rng(0), MLP((2, 50, 2)), MLPField((2, 50, 2))
    theta, z, a = field.init(rng), rng.standard_normal((20, 2)), rng.standard_normal(40)
    recorded = LinearisedField(lambda z, t, theta: net(theta, z), theta, z)
    by_hand = LinearisedField(field, theta, z)
    runs = {"the engine": lambda: recorded.pulled(0.3, z.reshape(-1), a),
            "MLPField.vjp": lambda: by_hand.pulled(0.3, z.reshape(-1), a)}
    report("pullback", turns(runs, rounds, 100))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often they take turns")
    n_rounds = parser.parse_args().rounds
    gradients(n_rounds)
    pullback(n_rounds)
