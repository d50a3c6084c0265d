"""The variational diffusion model of §13.4.2 as its users see it: arguments are checked here, noise
and times are drawn here. The bound itself is in elbo.py, p in model.py, q in forward.py."""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..autodiff import Array, stop_gradient
from ..autodiff.tree import Tree
from ..mhvae import MarkovianHVAE
from .elbo import ELBO, Noise, exact_elbo, kl_terms, one_t_elbo
from .hvae import as_mhvae
from .kl import examples
from .learned import NETWORK, LearnedSchedule, LearnedVariance
from .model import Decoder, Denoiser, Model, with_schedule
from .sample import ancestral_path
from .schedule import Schedule


class VDM:
    """A variational diffusion model: q fixed by the schedule, p by a denoiser and a decoder.

    denoiser    model.Denoiser: denoiser(theta, x_t, t) -> x̂_0 of x_t's shape, x_t (batch, ...), t
                an array (batch,)
    schedule    a Schedule, or a LearnedSchedule
    decoder     model.Decoder: GaussianDecoder, CategoricalDecoder, ...
    variance    of p(x_{t-1} | x_t): "small" is that of q(x_{t-1} | x_t, x_0), for which KL_t has
                the closed form of 13.29; "large" is 1 - α_t; an array (T+1,) indexed by t (entries
                0 and 1 are not used); a LearnedVariance; or "network", one for each element of
                x_t, from the second output of denoiser.with_variance (log_variance_between)

    theta is any tree and goes to the denoiser whole, unless schedule or variance is learned. Then
    it is {"denoiser": ..., "schedule": ..., "variance": ...} with the last two where they are
    learned. A denoiser or decoder that holds a schedule is given the learned one through
    with_schedule; inside a gradient a learned schedule makes everything float64.
    TypeError or ValueError for parts that do not fit together.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x_t, t: 0 * x_t, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> rng = np.random.default_rng(0)
    >>> vdm.elbo(None, np.zeros((4, 2)), rng).total.shape, vdm.sample(None, (3, 2), rng).shape
    ((4,), (3, 2))
    """

    def __init__(self, denoiser: Denoiser, schedule: Schedule | LearnedSchedule, decoder: Decoder,
                 variance: Any = "small"):
        checks.function("VDM: denoiser", denoiser, "denoiser(theta, x_t, t)")
        if not isinstance(schedule, (Schedule, LearnedSchedule)):
            raise TypeError("VDM: schedule must be a Schedule or a LearnedSchedule, got "
                            f"{type(schedule).__name__}")
        if not hasattr(decoder, "log_prob") or isinstance(decoder, type):
            raise TypeError("VDM: decoder must be an object with log_prob (GaussianDecoder(...), "
                            f"CategoricalDecoder(...)), got {decoder!r}")
        self.denoiser, self.schedule, self.decoder = denoiser, schedule, decoder
        self.variance = _check_variance(variance, schedule.T)
        by_network = _is_network(self.variance)
        if by_network and not hasattr(denoiser, "with_variance"):
            raise TypeError("VDM: variance 'network' is the denoiser's second output; the denoiser "
                            "must have with_variance(theta, x_t, t) -> (x_0 hat, share)")
        if _is_network(getattr(decoder, "variance", None)) and not by_network:
            raise ValueError("VDM: the decoder's variance is 'network', so the model's must be")
        if isinstance(schedule, Schedule):
            _check_one_schedule(schedule, denoiser, decoder)

    def at(self, theta: Tree) -> Model:
        """p with these parameters: what is learned becomes a Schedule and a table of variances."""
        parts = {"schedule": self.schedule, "variance": self.variance}
        learned = [name for name, part in parts.items()
                   if isinstance(part, (LearnedSchedule, LearnedVariance))]
        if learned:
            _check_keys(theta, learned)
        denoiser, decoder = self.denoiser, self.decoder
        if isinstance(self.schedule, LearnedSchedule):
            schedule = checks.instance("VDM: what the learned schedule returns",
                                       self.schedule(theta["schedule"]), Schedule)
            denoiser, decoder = with_schedule(schedule, denoiser), with_schedule(schedule, decoder)
        else:
            schedule = self.schedule
        log_variance = _log_variance(self.variance, schedule, theta)
        own = theta["denoiser"] if learned else theta
        return Model(denoiser, own, schedule, decoder, log_variance)

    def elbo(self, theta: Tree, x_0: Array, rng: np.random.Generator | None = None, *,
             eps: Any = None, rows: int = 1024) -> ELBO:
        """13.24 with the exact sum over t = 2..T; x_0 (batch, ...) floats; (batch,) each, nats.

        eps (T, batch, ...) standard normal: eps[t-1] makes x_t from x_0; rng draws exactly that
        array when eps is not given. The denoiser sees about `rows` noisy examples at a time, and
        memory does not grow with T.
        """
        x_0, model, rows = examples("x_0", x_0), self.at(theta), checks.integer("rows", rows)
        return exact_elbo(model, x_0, Noise("elbo", model.schedule.T, x_0, rng, eps), rows)

    def kl_per_t(self, theta: Tree, x_0: Array, rng: np.random.Generator | None = None, *,
                 eps: Any = None, rows: int = 1024) -> Array:
        """The terms of diffusion_kl one by one: (T+1, batch) indexed by t, 0 at t = 0 and 1.
        Arguments and draws as elbo."""
        x_0, model, rows = examples("x_0", x_0), self.at(theta), checks.integer("rows", rows)
        noise = Noise("kl_per_t", model.schedule.T, x_0, rng, eps)
        noise.next(1)
        rest = [kl for _, kl in kl_terms(model, x_0, noise, rows)]
        return np.concatenate([np.zeros((2, len(x_0)), x_0.dtype), *rest])

    def elbo_estimate(self, theta: Tree, x_0: Array, rng: np.random.Generator | None = None, *,
                      t: Any = None, eps: Any = None, times: str = "uniform") -> ELBO:
        """13.29 as an unbiased estimate of 13.24: one t in 2..T for each example, and its KL_t
        times T - 1 in the place of the sum.

        t (batch,) integers, drawn from rng unless given. times="uniform" draws them independently;
        "stratified" takes all from one uniform number u, as (u + i/batch) mod 1: spread over the
        batch, each still uniform (Kingma et al. 2021, I.1). eps (2, batch, ...): eps[0] makes x_1,
        eps[1] makes x_t; drawn after t.
        """
        checks.one_of("elbo_estimate: times", times, ("uniform", "stratified"))
        x_0, model = examples("x_0", x_0), self.at(theta)
        n, T = len(x_0), model.schedule.T
        if t is None:
            t = _draw_times(n, T, rng, times)
        else:
            t = np.broadcast_to(checks.integers("t", t, n, 2, T), (n,))
        eps = checks.noise("elbo_estimate", (2, *x_0.shape), x_0.dtype, rng, eps)
        return one_t_elbo(model, x_0, t, eps)

    def sample(self, theta: Tree, shape: tuple, rng: np.random.Generator | None = None, *,
               x_T: Any = None, eps: Any = None) -> Array:
        """x_0 of the given shape (n, ...) by ancestral sampling; noise and dtype as
        sample.ancestral_path says."""
        *_, (_, x) = ancestral_path(self, theta, shape, rng, x_T=x_T, eps=eps)
        return x

    def as_mhvae(self) -> MarkovianHVAE:
        """This model as a hierarchical VAE with the same theta, see hvae.as_mhvae. TypeError unless
        the decoder is Gaussian."""
        return as_mhvae(self)


# ---------------------------------------------------------------- the pieces


def _draw_times(n: int, T: int, rng: Any, times: str) -> np.ndarray:
    if rng is None:
        raise ValueError("elbo_estimate: give a numpy.random.Generator as rng, or the times "
                         "themselves as t and the noise as eps")
    checks.generator("elbo_estimate: rng", rng)
    if times == "uniform":
        return rng.integers(2, T + 1, n)
    u = (rng.random() + np.arange(n) / n) % 1.0
    return np.minimum(2 + np.floor(u * (T - 1)).astype(int), T)  # u just below 1 may round up


def _is_network(variance: Any) -> bool:
    return isinstance(variance, str) and variance == NETWORK


def _log_variance(variance: Any, schedule: Schedule, theta: Tree) -> Any:
    """log of p's variance as a table (T+1,), None where it is q's, NETWORK where it says it."""
    if _is_network(variance):
        return NETWORK
    if isinstance(variance, str):
        return None if variance == "small" else schedule.log_one_minus_alpha
    if isinstance(variance, np.ndarray):
        table = np.log(variance[2:])
    else:
        table = checks.returned("the learned variance", variance(theta["variance"], schedule),
                                (schedule.T - 1,))
    return np.concatenate([np.full(2, np.nan), table])  # there is no KL at t = 1


def _check_variance(variance: Any, T: int) -> Any:
    if isinstance(variance, LearnedVariance):
        if variance.T != T:
            raise ValueError(f"VDM: the learned variance is for T = {variance.T}, the schedule "
                             f"has T = {T}")
        return variance
    if isinstance(variance, str):
        if variance not in ("small", "large", NETWORK):
            raise ValueError(f"VDM: unknown variance {variance!r}; known are small, large, an "
                             "array (T+1,), a LearnedVariance and network")
        return NETWORK if variance == NETWORK else variance
    variance = checks.reals("VDM: variance", variance, (...,), finite=False)
    if variance.shape != (T + 1,) or not np.all((variance[2:] > 0) & (variance[2:] < np.inf)):
        raise ValueError(f"VDM: variance must hold {T + 1} numbers indexed by t, positive and "
                         f"finite from t = 2 on, got shape {variance.shape}")
    return variance


def _check_one_schedule(schedule: Schedule, denoiser: Any, decoder: Any) -> None:
    parts = {"denoiser": denoiser, "decoder's denoiser": getattr(decoder, "denoiser", None)}
    for name, part in parts.items():
        own = getattr(part, "schedule", schedule)
        if isinstance(own, Schedule):
            gamma, models = stop_gradient((own.gamma, schedule.gamma))
            if not np.array_equal(gamma, models):
                raise ValueError(f"VDM: the {name} was made for another schedule, {own!r}, than "
                                 f"the model's, {schedule!r}: what it says of time t would be "
                                 "about another noise level")


def _check_keys(theta: Tree, learned: list[str]) -> None:
    expected = {"denoiser", *learned}
    if not isinstance(theta, dict) or theta.keys() != expected:
        got = sorted(theta) if isinstance(theta, dict) else type(theta).__name__
        raise ValueError(f"VDM: with a learned {' and '.join(sorted(learned))} theta must be a "
                         f"dict with the keys {sorted(expected)}, got {got}")
