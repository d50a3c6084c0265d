"""The Markovian hierarchical VAE of §13.2, told again in §13.4.1.

Latents z_1, ..., z_T over data x = z_0, each of which sees only its neighbours, in conditionals
that are all diagonal Gaussians:

    13.2, 13.18          p(x, z_1:T) = p(z_T) Π_{t=1}^T p(z_{t-1} | z_t),    p(z_T) = N(0, I)
    13.3, 13.19          q(z_1:T | x) = Π_{t=1}^T q(z_t | z_{t-1})
    13.4, 13.5, 13.21    log p(x) ≥ E_q [log p(x, z_1:T) - log q(z_1:T | x)]

Printed otherwise: 13.20 and the left side of 13.21 have the conditional p(x | z_1:T) in place of
the joint p(x, z_1:T). With it the inequality of 13.20 is wrong: its right side can exceed log p(x),
and is no bound. §13.2 also writes z_{1-T} for z_{1:T}, and the first line of its ELBO lacks the
factor q(z_1:T | x).
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from . import checks
from .autodiff import Array, Tensor, logsumexp
from .autodiff.tree import Tree, float_dtype
from .conditional import GaussianConditional
from .gaussian import elementwise, log_normal, sum_per_example

__all__ = ["Conditional", "GaussianConditional", "MarkovianHVAE"]


class Conditional(Protocol):
    """What an encoder or decoder must be: a diagonal Gaussian over one level, given a neighbour.

    conditional(theta, z) -> (mean, log_var). z (batch, ...) is the level that is given; mean
    (batch, ...) has the shape of the level that it is over, and log_var is a number or broadcasts
    against mean; both are finite floats. theta is whatever the model is called with.

    Any function of these two arguments is one. GaussianConditional makes one of an MLP.

    >>> from refvdm.mhvae import MarkovianHVAE
    >>> def half(theta, z):
    ...     return z / 2, -1.0
    >>> MarkovianHVAE([half], [half]).elbo(None, np.ones((3, 2)), np.random.default_rng(0)).shape
    (3,)
    """

    def __call__(self, theta: Tree, z: Array, /) -> tuple[Array, Array | float]: ...


class MarkovianHVAE:
    """MarkovianHVAE(encoders, decoders): two lists of T Conditionals, t = 1..T.

        encoders[t-1](theta, z_{t-1}) -> mean and log-variance of q(z_t | z_{t-1})
        decoders[t-1](theta, z_t)     -> mean and log-variance of p(z_{t-1} | z_t)

    z_0 = x (batch, ...); levels may differ in shape. theta goes to each of them whole. Everything
    is per example, in nats, and differentiable in theta.

    ValueError for lists of different lengths or none at all; later for shapes that do not chain,
    eps of the wrong length or shape, and anything not finite, which names the level and the first
    bad element; TypeError for anything but floats.

    >>> from refvdm.mhvae import MarkovianHVAE
    >>> exact = lambda theta, x: (x / 2, np.log(0.5))  # the posterior of p(x | z) = N(z, 1)
    >>> model = MarkovianHVAE([exact], [lambda theta, z: (z, 0.0)])
    >>> elbo = model.elbo(None, np.zeros((1, 1)), np.random.default_rng(0))
    >>> np.allclose(elbo, -0.5 * np.log(2 * np.pi * 2))  # log p(x), x ~ N(0, 2)
    True
    """

    def __init__(self, encoders: Sequence[Conditional], decoders: Sequence[Conditional]):
        self.encoders = _conditionals("encoder", encoders)
        self.decoders = _conditionals("decoder", decoders)
        if not self.encoders or len(self.encoders) != len(self.decoders):
            raise ValueError(f"MarkovianHVAE: expected as many encoders as decoders, at least one, "
                             f"got {len(self.encoders)} and {len(self.decoders)}")
        self.T = len(self.encoders)

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, dict]:
        """Parameters of those levels that are GaussianConditionals: {name: parameters}."""
        parts = [part for part in (*self.encoders, *self.decoders)
                 if isinstance(part, GaussianConditional)]
        names = [part.name for part in parts]
        if len(set(names)) < len(set(map(id, parts))):
            raise ValueError(f"MarkovianHVAE: two GaussianConditionals have one name: {names}")
        return {part.name: part.init(rng, dtype) for part in parts}

    # -- the two distributions

    def log_joint(self, theta: Tree, x: Array, zs: Sequence[Array]) -> Array:
        """log p(x, z_1:T) = log p(z_T) + Σ_t log p(z_{t-1} | z_t), (batch,). 13.2, 13.18.

        zs = [z_1, ..., z_T].
        """
        return self._log_joint(theta, self._levels(x, zs))

    def _log_joint(self, theta: Tree, z: list[Array]) -> Array:
        log_p = sum_per_example(log_normal(z[self.T], 0.0, 0.0))
        for t in range(1, self.T + 1):
            mean, log_var = self._p(theta, t, z[t], z[t - 1])
            log_p = log_p + _log_density(f"decoder {t}", z[t - 1], mean, log_var)
        return log_p

    def log_posterior(self, theta: Tree, x: Array, zs: Sequence[Array]) -> Array:
        """log q(z_1:T | x) = Σ_t log q(z_t | z_{t-1}), (batch,). 13.3, 13.19."""
        z = self._levels(x, zs)
        log_q: Any = 0.0
        for t in range(1, self.T + 1):
            mean, log_var = self._q(theta, t, z[t - 1], z[t])
            log_q = log_q + _log_density(f"encoder {t}", z[t], mean, log_var)
        return log_q

    # -- the bound

    def elbo(self, theta: Tree, x: Array, rng: np.random.Generator | None = None, *,
             eps: Sequence[Array] | None = None) -> Array:
        """log p(x, z_1:T) - log q(z_1:T | x), (batch,), at one z_1:T ~ q(z_1:T | x). 13.21.

        Its mean over eps is the ELBO. eps: T arrays, eps[t-1] of z_t's shape makes z_t from
        z_{t-1}; rng draws them in this order.
        """
        z, log_q = self._draw(theta, x, rng, eps)
        return self._log_joint(theta, z) - log_q

    def encode(self, theta: Tree, x: Array, rng: np.random.Generator | None = None, *,
               eps: Sequence[Array] | None = None) -> list[Array]:
        """[z_1, ..., z_T] ~ q(z_1:T | x), z_t = mean + exp(log_var/2) eps[t-1]."""
        return self._draw(theta, x, rng, eps)[0][1:]

    def _draw(self, theta: Tree, x: Array, rng: Any, eps: Any) -> tuple[list[Array], Array]:
        """[x, z_1, ..., z_T], z_1:T ~ q(z_1:T | x), and log q(z_1:T | x)."""
        z = [checks.floats("x", x)]
        checks.either("encode", rng=rng, eps=eps)
        given = self._one_for_each_level("encode", eps)
        log_q: Any = 0.0
        for t in range(1, self.T + 1):
            mean, log_var = self._q(theta, t, z[t - 1])
            e = _noise("encode", t, mean, rng, given[t - 1])
            z.append(_drawn(f"encoder {t}: z_{t}", mean, log_var, e))
            # log N(z; mean, var): z is exactly e standard deviations from its mean
            log_q = log_q + sum_per_example(log_normal(e, 0.0, 0.0) - 0.5 * log_var)
        return z, log_q

    def importance_bound(self, theta: Tree, x: Array, samples: int,
                         rng: np.random.Generator | None = None, *,
                         eps: Sequence[Array] | None = None) -> Array:
        """log 1/K Σ_k p(x, z^k)/q(z^k | x), (batch,), with K = samples draws z^k of z_1:T from q.

        A bound that rises with K (Burda et al. 2016); K = 1 is the ELBO. eps: T arrays
        (K, batch, ...).
        """
        K, x = checks.integer("importance_bound: samples", samples), checks.floats("x", x)
        n = len(x)
        if eps is not None:
            eps = [_numbers(f"importance_bound: eps[{i}]", e, (K, n, ...))
                   for i, e in enumerate(self._one_for_each_level("importance_bound", eps))]
            eps = [np.reshape(e, (K * n, *e.shape[2:])) for e in eps]
        copies = np.reshape(np.broadcast_to(x, (K, *x.shape)), (K * n, *x.shape[1:]))
        log_ratio = np.reshape(self.elbo(theta, copies, rng, eps=eps), (K, n))
        return logsumexp(log_ratio, axis=0) - math.log(K)

    # -- sampling from p

    def sample(self, theta: Tree, shape: Sequence[int], rng: np.random.Generator | None = None, *,
               z_T: Array | None = None, eps: Sequence[Array] | None = None) -> Array:
        """x ~ p(x), the end of ancestral_path, which tells the arguments."""
        *_, (_, x) = self.ancestral_path(theta, shape, rng, z_T=z_T, eps=eps)
        return x

    def ancestral_path(self, theta: Tree, shape: Sequence[int],
                       rng: np.random.Generator | None = None, *, z_T: Array | None = None,
                       eps: Sequence[Array] | None = None) -> Iterator[tuple[int, Array]]:
        """(t, z_t) for t = T, ..., 0: z_T ~ N(0, I) of this shape (n, ...), then p(z_{t-1} | z_t).

        Instead of rng, z_T and eps may be given: T arrays, eps[t-1] makes z_{t-1} from z_t.
        """
        if z_T is not None or rng is None:
            checks.either("sample", rng=rng, eps=eps)
        if z_T is None and rng is None:
            raise ValueError("sample: without z_T it needs rng")
        given = self._one_for_each_level("sample", eps)
        shape = checks.lengths("sample: shape", shape, axes=1)
        if z_T is None:
            z = checks.noise("sample", shape, float_dtype(theta), rng, None)
        else:
            z_T = np.asanyarray(z_T) if isinstance(z_T, (list, tuple)) else z_T
            z = checks.floats("sample: z_T", z_T, shape)
        return self._down(theta, z, rng, given)

    def _down(self, theta: Tree, z: Array, rng: Any, given: list) -> Iterator[tuple[int, Array]]:
        # apart from ancestral_path, which so refuses what is wrong when it is called
        yield self.T, z
        for t in range(self.T, 0, -1):
            mean, log_var = self._p(theta, t, z)
            e = _noise("sample", t - 1, mean, rng, given[t - 1])
            z = _drawn(f"decoder {t}: z_{t - 1}", mean, log_var, e)
            yield t - 1, z

    # -- the levels, checked

    def _q(self, theta: Tree, t: int, z: Array, z_t: Array | None = None) -> tuple[Array, Array]:
        """Mean and log-variance of q(z_t | z_{t-1}) at z_{t-1} = z."""
        return _moments(f"encoder {t}", self.encoders[t - 1], theta, (t - 1, z), (t, z_t))

    def _p(self, theta: Tree, t: int, z: Array, below: Array | None = None) -> tuple[Array, Array]:
        """Mean and log-variance of p(z_{t-1} | z_t) at z_t = z."""
        return _moments(f"decoder {t}", self.decoders[t - 1], theta, (t, z), (t - 1, below))

    def _levels(self, x: Array, zs: Sequence[Array]) -> list[Array]:
        """[z_0, ..., z_T] with z_0 = x."""
        above = [checks.floats(f"z_{t}", z) for t, z in enumerate(checks.listed("zs", zs), start=1)]
        if len(above) != self.T:
            raise ValueError(f"expected {self.T} latents z_1, ..., z_{self.T}, got {len(above)}")
        return [checks.floats("x", x), *above]

    def _one_for_each_level(self, who: str, eps: Sequence[Array] | None) -> list[Array | None]:
        given = [None] * self.T if eps is None else checks.listed(f"{who}: eps", eps)
        if len(given) != self.T:
            raise ValueError(f"{who}: eps must hold {self.T} arrays, one for each level, "
                             f"got {len(given)}")
        return given


# ---------------------------------------------------------------- what comes from outside


def _moments(who: str, conditional: Conditional, theta: Tree, given: tuple[int, Array],
             over: tuple[int, Array | None]) -> tuple[Array, Array]:
    """(mean, log_var) of a conditional, once they are what they must be.

    given, over: (t, z_t) for the level that is given and the one it is over, None if not known yet.
    """
    t, z = given
    made = checks.called(f"{who}, given z_{t} of shape {z.shape},", conditional, theta, z)
    if not isinstance(made, tuple) or len(made) != 2:
        raise TypeError(f"{who} must return a tuple (mean, log_var), got {type(made).__name__}")
    mean = checks.floats(f"{who}: mean", made[0], (...,))
    log_var = elementwise(f"{who}: log_var", made[1])
    if mean.shape[:1] != z.shape[:1] or not _broadcasts(np.shape(log_var), mean.shape):
        raise ValueError(f"{who}: expected a mean of shape ({len(z)}, ...) and a log_var that "
                         f"broadcasts against it, got {mean.shape} and {np.shape(log_var)}")
    if over[1] is not None:
        checks.like(f"{who}: mean", mean, f"z_{over[0]}", over[1])
    if not isinstance(log_var, Tensor):
        log_var = np.asarray(log_var, mean.dtype)  # a number must not widen float32
    return mean, checks.floats(f"{who}: log_var", log_var, (...,))


def _drawn(name: str, mean: Array, log_var: Array, e: Array) -> Array:
    """mean + exp(log_var/2) e; a log_var that is finite may still be too large for its exp."""
    return checks.floats(f"{name} = mean + exp(log_var/2) eps", mean + np.exp(0.5 * log_var) * e)


def _log_density(who: str, z: Array, mean: Array, log_var: Array) -> Array:
    """log N(z; mean, exp(log_var)) (batch,): -inf is one, nan is none."""
    log_p = sum_per_example(log_normal(z, mean, log_var))
    if np.isnan(log_p).any():  # 0 times inf, at z = mean
        raise ValueError(f"{who}: log_var is too small, exp(-log_var) overflows")
    return log_p


def _conditionals(kind: str, given: Any) -> list[Conditional]:
    return [checks.function(f"MarkovianHVAE: {kind} {t}", f, f"{kind}(theta, z)")
            for t, f in enumerate(checks.listed(f"MarkovianHVAE: {kind}s", given), start=1)]


def _broadcasts(shape: tuple, onto: tuple) -> bool:
    backwards = zip(shape[::-1], onto[::-1])
    return len(shape) <= len(onto) and all(n in (1, m) for n, m in backwards)


def _noise(who: str, t: int, mean: Array, rng: Any, e: Any) -> Array:
    """Standard normal noise like mean, for z_t: e, or drawn from rng when e is None."""
    name = f"the eps that makes z_{t}"
    e = None if e is None else _numbers(f"{who}: {name}", e, mean.shape)
    return checks.noise(who, mean.shape, mean.dtype, rng, e, name)


def _numbers(name: str, x: Any, shape: Sequence) -> Array:
    """A Tensor, or any real numbers as an array, of this shape and finite."""
    check = checks.floats if isinstance(x, Tensor) else checks.reals
    return check(name, x, shape)
