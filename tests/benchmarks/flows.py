"""The PLU layer beside dense linear algebra, in one run.

    python tests/benchmarks/flows.py [--rounds 15]

log_det     log|det W| and its gradient at d = 512: the sum over log_scale, beside np.linalg.slogdet
            and the inverse that is its gradient; by log_scale alone (by all else it is 0) and by
            all of theta, where most of the time goes into copies and zeros
forward     512 vectors at d = 512 beside the product with W
both        forward and backward, beside the engine's gradient of the product

The contestants take turns, a round each; printed are medians of the times and of the ratios round
by round.
"""
import argparse
import statistics
import time

import numpy as np

from refvdm.autodiff import vjp
from refvdm.flows import PLU

D, BATCH = 512, 512


def compare(name, n, **contestants):
    times = {who: [] for who in contestants}
    for run in contestants.values():
        run()
    for _ in range(n):
        for who, run in contestants.items():
            start = time.perf_counter()
            run()
            times[who].append(time.perf_counter() - start)
    dense = times["dense"]
    for who, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, dense))
        times_dense = f"   {ratio:.4f}x of dense" if who != "dense" else ""
        print(f"{name:<10}{who:<16}{statistics.median(seconds) * 1e6:>10.0f} us{times_dense}")


def gradient(f, *primals):
    y, pullback = vjp(f, *primals)
    return pullback(np.ones_like(y))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    n = parser.parse_args().rounds
    rng, layer = np.random.default_rng(0), PLU(D)
    theta, x = layer.init(rng), rng.standard_normal((BATCH, D))
    W = layer.matrix(theta)
    compare("log_det", n,
            log_scale=lambda: gradient(lambda s: layer.log_det({**theta, "log_scale": s}),
                                       theta["log_scale"]),
            all_theta=lambda: gradient(layer.log_det, theta),
            dense=lambda: (np.linalg.slogdet(W), np.linalg.inv(W).T))
    compare("forward", n, plu=lambda: layer.forward(theta, x), dense=lambda: x @ W.T)
    compare("both", n, plu=lambda: gradient(lambda theta, x: layer.forward(theta, x)[0], theta, x),
            dense=lambda: gradient(lambda W, x: x @ np.transpose(W), W, x))
