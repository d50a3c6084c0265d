"""Sampling: down the chain p(x_{t-1} | x_t) of 13.24 from x_T to data, or faster, by DDIM."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree, float_dtype
from .model import Model, model_of
from .schedule import factor

if TYPE_CHECKING:
    from .vdm import VDM


def ancestral_path(vdm: VDM, theta: Tree, shape: tuple, rng: np.random.Generator | None = None, *,
                   x_T: Any = None, eps: Any = None) -> Iterator[tuple[int, Array]]:
    """Yield (t, x_t) for t = T, T-1, ..., 1, 0: the chain of p from noise to data; shape (n, ...).

    x_T (n, ...) and eps (T, n, ...) are standard normal, drawn from rng unless given. eps[t-1]
    makes x_{t-1} from x_t,

        x_{t-1} = μ_t + σ_t eps[t-1],    t = T..2,

    with σ_t² the variance of p(x_{t-1} | x_t) and μ_t the mean of q(x_{t-1} | x_t, x̂_0(x_t, t)).
    eps[0] makes the decoder's draw of x_0. The dtype is that of x_T, or of theta's parameters, or
    float64.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import ancestral_path
    >>> [t for t, x_t in ancestral_path(vdm, None, (3, 2), np.random.default_rng(0))]
    [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    """
    model = model_of("sample", vdm, theta)
    x, T = start_of_chain(shape, rng, x_T, theta), model.schedule.T
    if eps is not None:
        eps = checks.noise("sample", (T, *shape), x.dtype, None, eps)
    return _chain(model, x, rng, eps)


def _chain(model: Model, x: Array, rng: Any, eps: Any) -> Iterator[tuple[int, Array]]:
    T = model.schedule.T
    yield T, x
    for t in range(T, 0, -1):
        eps_t = _noise("sample", t - 1, eps, x, rng)
        if t == 1:
            yield 0, model.draw(x, eps_t)
        else:
            mean, var = model.step(x, t)
            x = mean + np.sqrt(var) * eps_t
            yield t - 1, x


def ddim_sample(vdm: VDM, theta: Tree, shape: tuple, rng: np.random.Generator | None = None, *,
                steps: int | None = None, times: Any = None, eta: float = 0.0, x_T: Any = None,
                eps: Any = None, clip: tuple[float, float] | None = None) -> np.ndarray:
    """x_0 of shape (n, ...): the end of ddim_path, which tells the arguments.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import ddim_sample
    >>> ddim_sample(vdm, None, (3, 2), np.random.default_rng(0), steps=5).shape
    (3, 2)
    """
    *_, (_, x) = ddim_path(vdm, theta, shape, rng, steps=steps, times=times, eta=eta, x_T=x_T,
                           eps=eps, clip=clip)
    return x


def ddim_path(vdm: VDM, theta: Tree, shape: tuple, rng: np.random.Generator | None = None, *,
              steps: int | None = None, times: Any = None, eta: float = 0.0, x_T: Any = None,
              eps: Any = None, clip: tuple[float, float] | None = None,
              ) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (t, x_t) of DDIM (Song, Meng, Ermon 2021) from x_T (n, ...) down to x_1, then (0, x_0),
    the decoder's draw. A variance of p's own is not used.

    From t to s < t, with x̂_0 and ε̂ = (x_t - √ᾱ_t x̂_0)/√(1 - ᾱ_t):

        x_s = √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε̂ + σ eps,    σ² = eta² (1 - ᾱ_s) (1 - SNR_t/SNR_s)

    eta = 1 is ancestral sampling with q's variance, eta = 0 adds no noise on the way. The last of
    these steps ends at ᾱ_1; from there the decoder draws x_0, where others step on to ᾱ_0 = 1
    (or, with set_alpha_to_one=False, stop at ᾱ_1).

    steps   how many of the T - 1 transitions from T to 1 are taken, all by default: the times are
            then evenly spaced integers
    times   these instead: falling integers, the last 1. Where the first is not T, x_T stands at it
            all the same, as with the "leading" spacing of others
    clip    (low, high): x̂_0 is clipped to it before each step. This is another model than the one
            whose bound `elbo` gives
    x_T (n, ...) and eps (steps + 1, n, ...) are drawn from rng unless given. eps[0] is the
    decoder's; eps[i] is used on the way from the i-th time above t = 1 to the one below it; with
    eta = 0 only eps[0] is drawn.
    ValueError for eta outside [0, 1], steps outside 1..T-1, other times, low >= high.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import ddim_path
    >>> [t for t, x_t in ddim_path(vdm, None, (3, 2), np.random.default_rng(0), steps=3)]
    [10, 7, 4, 1, 0]
    """
    eta, model = checks.number("ddim_sample: eta", eta, "[0, 1]"), model_of("sample", vdm, theta)
    falling = _times(model.schedule.T, steps, times)
    bounds = _bounds(clip)
    x = start_of_chain(shape, rng, x_T, theta)
    if eps is not None:
        eps = checks.noise("ddim_sample", (len(falling), *shape), x.dtype, None, eps)
    return _ddim(model, x, falling, eta, bounds, rng, eps)


def _ddim(model: Model, x: Array, times: list[int], eta: float, clip: Any, rng: Any,
          eps: Any) -> Iterator[tuple[int, Any]]:
    yield times[0], x
    for i, (t, s) in zip(range(len(times) - 1, 0, -1), pairwise(times)):
        at_s, at_t = model.schedule.at(s, x), model.schedule.at(t, x)
        x_0_hat = model.x_0_hat(x, np.full(len(x), t))
        if clip is not None:
            x_0_hat = np.clip(x_0_hat, *clip)
        eps_hat = (x - at_t.sqrt_alpha_bar * x_0_hat) / at_t.sqrt_one_minus_alpha_bar
        # σ² = (1 - ᾱ_s) new, the rest of the noise is kept
        new = eta * eta * model.schedule.snr_lost(s, t)
        kept = factor(np.sqrt(1 - new), x) * at_s.sqrt_one_minus_alpha_bar
        x = at_s.sqrt_alpha_bar * x_0_hat + kept * eps_hat
        if eta > 0:
            eps_i = _noise("ddim_sample", i, eps, x, rng)
            x = x + factor(np.sqrt(new), x) * at_s.sqrt_one_minus_alpha_bar * eps_i
        yield s, x
    yield 0, model.draw(x, _noise("ddim_sample", 0, eps, x, rng))


def _times(T: int, steps: Any, times: Any) -> list[int]:
    """The falling times from T to 1."""
    if times is None:
        steps = T - 1 if steps is None else checks.integer("ddim_sample: steps", steps, 1, T - 1)
        return np.round(np.linspace(1, T, steps + 1)).astype(int)[::-1].tolist()
    if steps is not None:
        raise ValueError("ddim_sample: give steps or times, not both")
    times = checks.integers("ddim_sample: times", times, np.size(times), 1, T).tolist()
    if not isinstance(times, list) or len(times) < 2 or times[-1] != 1 or any(
            t <= s for t, s in pairwise(times)):
        raise ValueError(f"ddim_sample: times must be falling integers, at most T = {T} and at the "
                         f"end 1, got {times}")
    return times


def _bounds(clip: Any) -> tuple[float, float] | None:
    if clip is None:
        return None
    if not isinstance(clip, (tuple, list)) or len(clip) != 2:
        raise ValueError(f"ddim_sample: clip must be (low, high), got {clip!r}")
    low, high = (checks.number("ddim_sample: clip", end) for end in clip)
    if low >= high:
        raise ValueError(f"ddim_sample: clip must be (low, high) with low < high, got {clip!r}")
    return low, high


def start_of_chain(shape: tuple, rng: np.random.Generator | None, x_T: Any,
                   theta: Tree) -> np.ndarray:
    """x_T of the given shape, as given or drawn; its dtype as ancestral_path says."""
    shape = checks.sizes("sample: shape", shape)
    if x_T is not None:
        x_T = checks.floats("sample: x_T", x_T, shape)
    dtype = float_dtype(theta) if x_T is None else x_T.dtype
    return checks.noise("sample", shape, dtype, rng, x_T, "x_T")


def _noise(who: str, i: int, eps: Any, x: Array, rng: np.random.Generator | None) -> Array:
    """eps[i], or drawn when there is no eps."""
    return checks.noise(who, x.shape, x.dtype, rng, None) if eps is None else eps[i]
