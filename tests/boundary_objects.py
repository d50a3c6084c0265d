"""The checks of whole objects, with valid arguments."""
import numpy as np
from boundary_engine import X
from wrong_arguments import KINDS, case, others

from refvdm.conformance.judge import ERROR
from refvdm.conformance.objects import (
    check_ancestral,
    check_continuous_loss,
    check_flow_layer,
    check_gradient,
    check_initialisation,
    check_likelihood,
    check_loss,
    check_probability_flow,
    check_sampler,
    check_times,
)
from refvdm.datasets import Ring

ABARS = np.array([0.99, 0.8, 0.5, 0.1])
TOLERANCE = ("positive", 0.5)


def ddim(denoise, x):
    for i in (3, 2, 1, 0):
        x_0 = denoise(x, i)
        abar, to = ABARS[i], ABARS[i - 1] if i else 1.0
        x = np.sqrt(to) * x_0 + np.sqrt(1 - to) * (x - np.sqrt(abar) * x_0) / np.sqrt(1 - abar)
    return x


def ancestral(denoise, x, i, noise):
    abar, to = ABARS[3 - i], ABARS[2 - i] if i < 3 else 1.0
    beta = 1 - abar / to
    mean = np.sqrt(to) * beta * denoise(x, 3 - i) + np.sqrt(1 - beta) * (1 - to) * x
    return mean / (1 - abar) + np.sqrt(beta) * noise * (i < 3)


def kl_t(x_0, x_0_hat, t):
    abar = np.concatenate([[1.0], ABARS])
    snr = abar[1:] / (1 - abar[1:])
    return 0.5 * (snr[t - 2] - snr[t - 1]) * np.sum((x_0 - x_0_hat) ** 2, axis=1)


DRAWN = np.random.default_rng(0)
case("check_sampler", check_sampler, ("alpha_bars", "longer"), run=("function", ddim), alpha_bars=("reals", ABARS),
     times=("falling", [3, 2, 1, 0]), output=("word", "x_0"), final=("word", "x_0"), tolerance=TOLERANCE)
case("check_ancestral", check_ancestral, ("alpha_bars", "longer"), step=("function", ancestral),
     alpha_bars=("reals", ABARS), times=("falling", [3, 2, 1, 0]), output=("word", "x_0"), variance=("word", "large"),
     tolerance=TOLERANCE)
case("check_ancestral, variance", lambda variance: check_ancestral(ancestral, ABARS, [3, 2, 1, 0], variance=variance),
     variance=("function", lambda beta, small: beta))
KINDS["falling"] = (others([], [9, 2], [1.5, 0.5], ["a"], [0, 1, 2, 3], [3, -1], [3, 3]),
                    lambda x: [("a tuple", tuple(x)), ("an array", np.array(x))])
case("check_loss", check_loss, loss=("function", kl_t), betas=("reals", 1 - np.concatenate(
     [ABARS[:1], ABARS[1:] / ABARS[:-1]])), decoder_variance=("positive?", 0.5), tolerance=TOLERANCE)


def in_time(gamma, x_0, eps, t):
    return 3.0 * gamma(t)


def halved(denoise, x, n):
    return denoise(x, 5.0)


def starting():
    kept = []

    def forward(x):
        if not kept:
            kept.extend([x.mean(0), x.std(0) + 1e-9])
        return (x - kept[0]) / kept[1], np.zeros(len(x))
    return forward


case("check_continuous_loss", check_continuous_loss, loss=("function", in_time), nodes=("integer", 60),
     tolerance=TOLERANCE)
case("check_probability_flow", check_probability_flow, ("order", "0"), run=("function", halved),
     sigma_max=("positive", 5.0), sigma_min=("positive", 5.0), order=("integer", 1), final=("word", "sigma_min"),
     steps=("rising", [1, 2]), float32=("flag", False))
KINDS["rising"] = (others([], [2], [2, 1], [0, 1], [1.5, 2.5], ["a", "b"]),
                   lambda x: [("a tuple", tuple(x)), ("an array", np.array(x))])
case("check_initialisation", check_initialisation, make=("function", starting),
     data=("data real", X + [1, 0, 1, 0]), axes=("axes", (0,)), tolerance=TOLERANCE)


def judged(**arguments):
    """A report whose numbers differ from call to call."""
    report = check_times(**arguments)
    return report if any(v.status == ERROR for v in report.verdicts) else report.status


case("check_times", judged, ("low", "0, negative"), draw=("function", lambda: DRAWN.integers(1, 5, 3)),
     n=("integer", 3), low=("integer", 1), high=("integer", 4), batches=("integer", 200))
case("check_flow_layer", check_flow_layer, forward=("function", lambda x: (2 * x, np.full(len(x), 4 * np.log(2)))),
     inverse=("function", lambda y: (y / 2, np.full(len(y), -4 * np.log(2)))), x=("rows real", X), tolerance=TOLERANCE)
KINDS["data real"] = (lambda x: [pair for pair in KINDS["reals"][0](x) if pair[0] not in ("longer", "an axis more")],
                      KINDS["reals"][1])
KINDS["axes"] = (others((), (1,), (0, 1), (0, 7), (0.0,), ("a",), (True,), (0, -1)),
                 lambda x: [("a list", list(x)), ("from behind", (-2,))])
KINDS["rows real"] = (lambda x: [pair for pair in KINDS["reals"][0](x) if pair[0] not in ("longer", "an axis more")],
                      KINDS["reals"][1])
case("check_gradient", check_gradient, f=("function", lambda x: np.sum(x**2)), gradient=("function", lambda x: [2 * x]),
     args=("gradient args", [X[0]]), names=("names?", ["x"]), tolerance=TOLERANCE, step=("positive", 2.0**-12))
KINDS["gradient args"] = (others("a", [object()], [np.ma.array(X[0])], [X[0] * np.nan], [X[0] + 0j], ["a"], []),
                          lambda x: [("a tuple", tuple(x))])
KINDS["names"] = (others("x", [1], ["x", "y"], []), lambda x: [("a tuple", tuple(x))])
RING = Ring()
POINTS = X.reshape(6, 2)
case("check_likelihood", check_likelihood, log_prob=("function", RING.log_prob), x=("rows real", POINTS),
     exact=("reals", RING.log_prob(POINTS)), tolerance=TOLERANCE)
