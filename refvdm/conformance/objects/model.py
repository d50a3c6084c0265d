"""Samplers, losses and drawers of times of diffusion models, driven by what is known exactly.

Data is N(m, s² I) element by element. Its perfect denoiser is linear in x_t,

    x̂_0 = m + √ᾱ_t s²/(ᾱ_t s² + 1 - ᾱ_t) (x_t - √ᾱ_t m)

so every step of a sampler is too, and what it must give is a closed form.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import chi2

from ... import checks
from ..adapter import WrongAnswer
from ..judge import FAIL, PASS, Verdict
from ..report import Report
from .verdict import asked, compared, guarded, of_shape

MEAN, VARIANCE = 0.7, 0.5


def perfect_denoiser(alpha_bar: float, x_t: Any, output: str = "x_0") -> Any:
    """x_0 hat of that data, or the eps, v or score that says the same; any arrays."""
    a, s = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    x_0 = MEAN + a * VARIANCE / (alpha_bar * VARIANCE + 1 - alpha_bar) * (x_t - a * MEAN)
    eps = (x_t - a * x_0) / s
    return {"x_0": x_0, "eps": eps, "v": a * eps - s * x_0, "score": -eps / s}[output]


def check_sampler(run: Callable, alpha_bars: Any, times: Sequence[int], *, output: str = "x_0",
                  final: str = "x_0", tolerance: float = 1e-5) -> Report:
    """A deterministic (DDIM, eta = 0) sampler as a whole: run(denoise, x_T) -> x_0.

    denoise(x, t) is to be called with t as in `times`, falling indices into alpha_bars (0-based, as
    DDPM's), and answers with `output`: "x_0", "eps", "v" or "score" of Gaussian data. final: "x_0",
    the last step ends at alpha_bar = 1, or "first", at alpha_bars[0].
    The times asked, and the result, which is linear in x_T, are compared with the closed form.

    >>> from refvdm.conformance.objects import check_sampler
    >>> abar, times = np.array([0.95, 0.8, 0.5, 0.2]), [3, 1]
    >>> def run(denoise, x):
    ...     for t in times:
    ...         x_0, to = denoise(x, t), abar[t - 1]  # 1 is meant after 3, and the data after 1
    ...         x = np.sqrt(to) * x_0 + np.sqrt((1 - to) / (1 - abar[t])) * (
    ...             x - np.sqrt(abar[t]) * x_0)
    ...     return x
    >>> print(check_sampler(run, abar, times).verdicts[1].why)
    it matches the reference if times do not chain: each step goes to t - 1; at (0,) it is ...
    """
    checks.function("check_sampler: run", run, "run(denoise, x_T)")
    alpha_bars, times = run_along("check_sampler", alpha_bars, times)
    checks.one_of("check_sampler: output", output, ("x_0", "eps", "v", "score"))
    checks.one_of("check_sampler: final", final, ("x_0", "first"))
    checks.positive("check_sampler: tolerance", tolerance)
    x_T = np.linspace(-2, 2, 7)

    def measure() -> list[Verdict]:
        seen: list[int] = []

        def denoise(x: Any, t: Any) -> Any:
            t = int(np.ravel(np.asarray(t))[0])
            if not 0 <= t < len(alpha_bars):
                raise WrongAnswer(f"the sampler asked about t = {t}, outside 0.."
                                  f"{len(alpha_bars) - 1}")
            seen.append(t)
            return perfect_denoiser(float(alpha_bars[t]), x, output)
        got = of_shape("x_0", asked("x_0", run, denoise, x_T.copy()), x_T.shape)
        ends = {"x_0": 1.0, "first": float(alpha_bars[0])}
        stride = max(len(alpha_bars) // len(times), 1)

        def path(following: Callable, last: float) -> np.ndarray:
            x = x_T
            for i, t in enumerate(times):
                s = following(i, t)
                abar, to = alpha_bars[t], last if s is None or s < 0 else alpha_bars[s]
                eps = perfect_denoiser(abar, x, "eps")
                x = np.sqrt(to) * perfect_denoiser(abar, x) + np.sqrt(1 - to) * eps
            return x

        def chained(i: int, t: int) -> int | None:
            return times[i + 1] if i + 1 < len(times) else None
        known = {
            "the last step ends at the other alpha_bar": path(
                chained, ends["first" if final == "x_0" else "x_0"]),
            "times do not chain: each step goes one stride T // steps down": path(
                lambda i, t: t - stride, ends[final]),
            "times do not chain: each step goes to t - 1": path(lambda i, t: t - 1, ends[final])}
        for kind in ("x_0", "eps", "v"):
            if kind != output:
                known[f"the network's output is read as {kind}, it is {output}"] = _misread(
                    x_T, alpha_bars, times, ends[final], output, kind)
        asked_as_said = Verdict("times", PASS, 1, 0, 0.0, "")
        distinct = list(dict.fromkeys(seen))
        if distinct != list(times):
            asked_as_said = Verdict("times", FAIL, 1, 1, np.inf,
                                    f"the denoiser was asked at {distinct}, not {list(times)}")
        return [asked_as_said, compared("x_0", got, path(chained, ends[final]), tolerance, known)]
    return Report(guarded("sampler", measure))


def run_along(who: str, alpha_bars: Any, times: Any) -> tuple[np.ndarray, list[int]]:
    """The alpha_bars (T,), in [0, 1), and the times of a run, falling indices into them."""
    alpha_bars = checks.reals(f"{who}: alpha_bars", alpha_bars, ("T",))
    if not np.all((alpha_bars >= 0) & (alpha_bars < 1)):
        raise ValueError(f"{who}: alpha_bars must lie in [0, 1), got {alpha_bars.min():g}.."
                         f"{alpha_bars.max():g}")
    times = [checks.integer(f"{who}: times, each of them,", t, 0, len(alpha_bars) - 1)
             for t in checks.listed(f"{who}: times", times)]
    if not times or any(t <= s for t, s in pairwise(times)):
        raise ValueError(f"{who}: times must be falling integers, at least one, got {times}")
    return alpha_bars, times


def _misread(x: np.ndarray, alpha_bars: np.ndarray, times: Sequence[int], last: float, output: str,
             read: str) -> np.ndarray:
    for i, t in enumerate(times):
        abar = float(alpha_bars[t])
        to = alpha_bars[times[i + 1]] if i + 1 < len(times) else last
        a, s, value = np.sqrt(abar), np.sqrt(1 - abar), perfect_denoiser(abar, x, output)
        x_0 = {"x_0": value, "eps": (x - s * value) / a, "v": a * x - s * value}[read]
        x = np.sqrt(to) * x_0 + np.sqrt(1 - to) * (x - a * x_0) / s
    return x


def check_loss(loss: Callable, betas: Any, *, decoder_variance: float | None = None,
               tolerance: float = 1e-6) -> Report:
    """loss(x_0, x_0_hat, t) -> (batch,): the term of the bound at t = 1..T, x_0 (batch, D).

    For t ≥ 2 it must be KL_t = (SNR_{t-1} - SNR_t)/2 |x_0 - x̂_0|² in nats; for t = 1, where
    decoder_variance is given, -log N(x_0; x̂_0, decoder_variance).

    >>> from refvdm.conformance.objects import check_loss
    >>> report = check_loss(lambda x_0, x_0_hat, t: np.sum((x_0 - x_0_hat)**2, axis=1), [0.1, 0.4])
    >>> print(report.verdicts[0].why)
    it matches the reference if it has no weight; at (...) it is ..., should be ...
    """
    checks.function("check_loss: loss", loss, "loss(x_0, x_0_hat, t)")
    betas = checks.reals("check_loss: betas", betas, ("T",))
    if len(betas) < 2 or not np.all((betas > 0) & (betas < 1)):
        raise ValueError(f"check_loss: betas must be at least two numbers in (0, 1), got {betas}")
    if decoder_variance is not None:
        checks.positive("check_loss: decoder_variance", decoder_variance)
    checks.positive("check_loss: tolerance", tolerance)
    alpha_bar = np.concatenate([[1.0], np.cumprod(1 - betas)])
    rng, T = np.random.default_rng(0), len(betas)
    x_0 = 0.5 + rng.standard_normal((4, 3))
    x_0_hat = x_0 + 0.3 * rng.standard_normal((4, 3))
    error = np.sum((x_0 - x_0_hat) ** 2, axis=1)

    def measure() -> list[Verdict]:
        verdicts = []
        with np.errstate(divide="ignore"):
            snr = alpha_bar / (1 - alpha_bar)
        for t in [1] * (decoder_variance is not None) + list(range(2, T + 1)):
            got = of_shape(f"loss at t = {t}", asked(f"loss at t = {t}", loss, x_0.copy(),
                                                     x_0_hat.copy(), t), (4,))
            if t == 1:
                v = float(decoder_variance or 0)
                expected = error / (2 * v) + 1.5 * np.log(2 * np.pi * v)
                known = {"the constants log √(2πσ²) are missing": error / (2 * v),
                         "it is |x_0 - x̂_0|²": error, "it is missing (0)": 0 * error}
            else:
                expected = (snr[t - 1] - snr[t]) / 2 * error
                following = snr[t + 1] if t < T else 0.0
                known = {"the factor 1/2 is forgotten": 2 * expected,
                         "it is the mean over the elements": expected / 3,
                         "it is times T - 1, for one t of all": expected * (T - 1),
                         "it is in bits": expected / np.log(2), "it has no weight": error,
                         "it is the mean of the squares, without its weight": error / 3,
                         "the weight is that of eps": snr[t] * error,
                         "the weight is SNR_t/2": snr[t] / 2 * error,
                         "it is of t + 1": (snr[t] - following) / 2 * error}
                if t > 2:
                    known["it is of t - 1"] = (snr[t - 2] - snr[t - 1]) / 2 * error
            verdicts.append(compared(f"t = {t}", got, expected, tolerance, known))
        return verdicts
    return Report(guarded("loss", measure))


def check_times(draw: Callable, n: int, low: int, high: int, *, batches: int = 2000,
                integers: bool = True) -> Report:
    """draw() -> (n,) training times: length, range low..high, and that *each example's* are
    uniform over it (chi-squared with a false alarm once in a million). Real times where integers
    is False.

    >>> from refvdm.conformance.objects import check_times
    >>> rng = np.random.default_rng(0)
    >>> report = check_times(lambda: rng.integers(2, 12, 8), 8, 2, 12)  # NumPy leaves out the 12
    >>> report.verdicts[0].why
    'of 2..12 only 2..11 was ever drawn'
    """
    checks.function("check_times: draw", draw, "draw()")
    n, low = checks.integer("check_times: n", n), checks.integer("check_times: low", low, -10**9)
    high = checks.integer("check_times: high", high, low + 1)
    batches = checks.integer("check_times: batches", batches)
    integers = checks.flag("check_times: integers", integers)

    def measure() -> list[Verdict]:
        times = np.stack([of_shape("draw", asked("draw", draw), (n,)) for _ in range(batches)])
        outside = (times < low) | (times > high) | (integers & (times != np.round(times)))
        ranged = Verdict("range", PASS, batches, 0, 0.0, "")
        if np.any(outside):
            ranged = Verdict("range", FAIL, batches, int(np.any(outside, axis=1).sum()), np.inf,
                             f"expected {'integers' if integers else 'numbers'} in {low}..{high}, "
                             f"got {times[outside][0]:g}")
        elif integers and not (np.any(times == low) and np.any(times == high)):
            seen = f"{times.min():g}..{times.max():g}"
            ranged = Verdict("range", FAIL, batches, batches, np.inf,
                             f"of {low}..{high} only {seen} was ever drawn")
        bins = min(high - low + 1, 20) if integers else 20
        edges = np.linspace(low - 0.5 * integers, high + 0.5 * integers, bins + 1)
        share = (np.diff(np.floor(edges)) / (high - low + 1) if integers else 1 / bins) * batches
        allowed, worst, at = float(chi2.isf(1e-6 / n, bins - 1)), 0.0, 0
        for i in range(n):
            counts = np.histogram(times[:, i], edges)[0]
            statistic = float(np.sum((counts - share) ** 2 / share)) / allowed
            worst, at = max((worst, at), (statistic, i))
        verdict = Verdict("each example's times are uniform", PASS, n, 0, worst, "")
        if worst > 1:
            verdict = Verdict(verdict.name, FAIL, n, 1, worst,
                              f"example {at}'s are not: chi-squared is {worst:.3g} times what "
                              f"happens once in a million")
        return [ranged, verdict]
    return Report(guarded("times", measure))
