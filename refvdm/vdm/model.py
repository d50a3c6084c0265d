"""What a user brings to a VDM, and p, the model made of it: p(x_T) = N(0, I), p(x_{t-1} | x_t) for
t = T..2, and the decoder p(x_0 | x_1)."""
from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree
from .forward import q_posterior
from .kl import kl_any_variance, kl_same_variance
from .learned import NETWORK, log_variance_between
from .schedule import Schedule, factor


class Denoiser(Protocol):
    """What predicts x_0: any function or object that is called as denoiser(theta, x_t, t).

    It may also have
        .logits(theta, x_t, t) -> (batch, ..., K)    a categorical of its own for each element
        .expectation(logits) -> x̂_0                  its mean: then one evaluation gives both
        .with_variance(theta, x_t, t) -> (x̂_0, share)    for VDM(variance="network"): share, of the
                                                     shape of x_t, says where between its bounds the
                                                     variance lies; see log_variance_between
        .schedule, .with_schedule(schedule)          when it needs the noise levels; the second
                                                     gives the same denoiser under learned ones

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> def denoiser(theta, x_t, t):
    ...     return theta["w"] * x_t
    >>> vdm = VDM(denoiser, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> vdm.sample({"w": np.array(0.5)}, (3, 2), np.random.default_rng(0)).shape
    (3, 2)
    """

    def __call__(self, theta: Tree, x_t: Array, t: Any, /) -> Array:
        """x̂_0 of x_t's shape and dtype; x_t (batch, ...), t an array (batch,), integers in the
        bound, floats in the probability flow; theta any tree."""


class Decoder(Protocol):
    """p(x_0 | x_1): any object with these two methods; see decoder.py.

    >>> from refvdm.vdm import VDM, Schedule
    >>> class Laplace:  # of scale 0.1 about x̂_0
    ...     def log_prob(self, x_0, x_1, prediction, schedule):
    ...         return np.sum(-abs(x_0 - prediction.x_0_hat) / 0.1 - np.log(0.2), axis=1)
    ...     def sample(self, x_1, prediction, schedule, eps):
    ...         return prediction.x_0_hat + 0.1 * eps
    >>> vdm = VDM(lambda theta, x_t, t: 0 * x_t, Schedule.cosine(10), Laplace())
    >>> vdm.elbo(None, np.zeros((3, 2)), np.random.default_rng(0)).reconstruction.round(3).tolist()
    [3.219, 3.219, 3.219]
    """

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 | x_1) (batch,) in nats, summed over each example."""

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        """x_0, a draw made from standard normal eps of x_0's shape."""


class Prediction(NamedTuple):
    """What a denoiser says at x_t.

    >>> from refvdm.vdm import Prediction
    >>> Prediction(np.zeros((3, 2)), None).rows(slice(2)).x_0_hat.shape
    (2, 2)
    """

    x_0_hat: Any  # of x_t's shape
    logits: Any  # (batch, ..., K), or None when it has none
    log_variance: Any = None  # of p(x_{t-1} | x_t), of x_t's shape, where the network says it

    def rows(self, some: slice) -> Prediction:
        """What it says of some of the examples."""
        return Prediction(*(None if says is None else says[some] for says in self))


# What the caller's functions return is checked here, where it comes in, and not again


def predict(denoiser: Denoiser, theta: Tree, x_t: Array, t: Any) -> Prediction:
    """All that a denoiser has to say, in one evaluation where its x̂_0 follows from its logits.
    TypeError or ValueError as in predict_x_0; a logit may be -inf."""
    if not hasattr(denoiser, "logits"):
        return Prediction(predict_x_0(denoiser, theta, x_t, t), None)
    shape = (*x_t.shape, "K")
    asked = theta, x_t, t
    logits = checks.answer("denoiser.logits", denoiser.logits, asked, shape, t, log=True)
    if not hasattr(denoiser, "expectation"):
        return Prediction(predict_x_0(denoiser, theta, x_t, t), logits)
    x_0_hat = checks.answer("denoiser.expectation", denoiser.expectation, (logits,), x_t.shape, t)
    return Prediction(x_0_hat, logits)


def predict_x_0(denoiser: Denoiser, theta: Tree, x_t: Array, t: Any) -> Array:
    """x̂_0(x_t, t) alone. TypeError unless it is an array of floats, ValueError unless it is finite
    and of x_t's shape; both name t, as does an error that the denoiser raised."""
    return checks.answer("the denoiser", denoiser, (theta, x_t, t), x_t.shape, t)


def two_outputs(who: str, f: Any, theta: Tree, x_t: Array, t: Any) -> tuple[Array, Array]:
    """What f says at x_t, and beside it the share of log_variance_between, each of x_t's shape.
    TypeError or ValueError as in predict_x_0."""
    both = checks.called(who, f, theta, x_t, t, t=t)
    if not isinstance(both, tuple) or len(both) != 2:
        raise TypeError(f"what {who} returns must be two arrays of x_t's shape, a tuple "
                        f"(prediction, share), got {type(both).__name__}")
    return (checks.returned(who, both[0], x_t.shape, t),
            checks.returned(f"{who} as the share", both[1], x_t.shape, t))


def model_of(who: str, vdm: Any, theta: Tree) -> Model:
    """vdm.at(theta); TypeError unless it is a VDM."""
    if not hasattr(vdm, "at") or isinstance(vdm, type):
        raise TypeError(f"{who}: vdm must be a VDM, got {type(vdm).__name__}")
    return vdm.at(theta)


def with_schedule(schedule: Schedule, part: Any) -> Any:
    """A denoiser, decoder or network with this schedule, if it wants one."""
    return part.with_schedule(schedule) if hasattr(part, "with_schedule") else part


class Model(NamedTuple):
    """p with its parameters, as `VDM.at(theta)` gives it."""

    denoiser: Denoiser
    theta: Tree  # the denoiser's own
    schedule: Schedule
    decoder: Decoder
    # of p(x_{t-1} | x_t), (T+1,) indexed by t; None where it is q's, NETWORK where the denoiser's
    log_variance: Any

    def x_0_hat(self, x_t: Array, t: Any) -> Array:
        return predict_x_0(self.denoiser, self.theta, x_t, t)

    def step(self, x_t: Array, t: int) -> tuple[Array, Array]:
        """(mean, var) of p(x_{t-1} | x_t), t in 2..T: q's posterior with x̂_0 in place of x_0."""
        prediction = self.predict(x_t, np.full(len(x_t), t))
        mean, var = q_posterior(self.schedule, x_t, prediction.x_0_hat, t)
        if self.log_variance is not None:
            var = np.exp(self._log_var(prediction, x_t, t))
        return mean, var

    def kl(self, x_0: Array, prediction: Prediction, t: Any) -> Array:
        """KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)) (batch,), t in 2..T, for what the denoiser
        says at x_t."""
        if self.log_variance is None:
            return kl_same_variance(self.schedule, x_0, prediction.x_0_hat, t)
        log_var = self._log_var(prediction, x_0, t)
        return kl_any_variance(self.schedule, x_0, prediction.x_0_hat, t, log_var)

    def predict(self, x_t: Array, t: Any) -> Prediction:
        """What p(x_{t-1} | x_t) needs: x̂_0, and the variance where it is the network's."""
        if self.log_variance is not NETWORK:
            return Prediction(self.x_0_hat(x_t, t), None)
        denoiser: Any = self.denoiser  # the VDM has checked that it has the method
        x_0_hat, share = two_outputs("denoiser.with_variance", denoiser.with_variance, self.theta,
                                     x_t, t)
        return Prediction(x_0_hat, None, log_variance_between(self.schedule, share, t))

    def predict_with_logits(self, x_t: Array, t: Any) -> Prediction:
        """What the decoder needs at t = 1: the same, and the logits where there are any."""
        if self.log_variance is NETWORK:
            return self.predict(x_t, t)
        return predict(self.denoiser, self.theta, x_t, t)

    def reconstruction(self, x_0: Array, x_1: Array) -> Array:
        """log p(x_0 | x_1) (batch,)."""
        return self.log_prob(x_0, x_1, self.predict_with_logits(x_1, np.ones(len(x_0), int)))

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction) -> Array:
        """log p(x_0 | x_1) (batch,), for what the denoiser says at x_1."""
        log_prob = self.decoder.log_prob(x_0, x_1, prediction, self.schedule)
        return checks.returned("decoder.log_prob", log_prob, x_0.shape[:1], log=True)

    def draw(self, x_1: Array, eps: Array) -> Any:
        """x_0 from p(x_0 | x_1), made from eps."""
        prediction = self.predict_with_logits(x_1, np.ones(len(x_1), int))
        sample = checks.function("VDM: decoder.sample", getattr(self.decoder, "sample", None),
                                 "sample(x_1, prediction, schedule, eps)")
        x_0 = sample(x_1, prediction, self.schedule, eps)
        return checks.returned("decoder.sample", x_0, x_1.shape)

    def _log_var(self, prediction: Prediction, x: Array, t: Any) -> Array:
        if self.log_variance is NETWORK:
            return prediction.log_variance
        return factor(self.log_variance[t], x)
