"""The Markovian hierarchical VAE, 13.2 and 13.4.1: latents z_1, ..., z_T over data x = z_0, each
seeing only its neighbours.

    p(x, z_1:T) = p(z_T) prod_{t=1}^T p(z_{t-1} given z_t),    p(z_T) = N(0, I)          (13.2,
    13.18)
    q(z_1:T given x) = prod_{t=1}^T q(z_t given z_{t-1})                                (13.3,
    13.19)
    log p(x) >= E_q [log p(x, z_1:T) - log q(z_1:T given x)]                            (13.4, 13.5,
    13.21)

All conditionals are diagonal Gaussians, given as functions. Printed: 13.20 and the left side of
13.21 have p(x given z_1:T) for the joint p(x, z_1:T); that is another number, and no bound. 13.2
also writes z_{1-T} for z_{1:T}, and its first line lacks a factor q.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import checks
from .autodiff import Tensor, logsumexp
from .autodiff.tree import float_dtype
from .gaussian import log_normal, sum_per_example
from .nn import MLP


class MarkovianHVAE:
    """encoders[t-1](theta, z_{t-1}) -> (mean, log_var) of q(z_t given z_{t-1});
    decoders[t-1](theta, z_t) -> those of p(z_{t-1} given z_t).

    t = 1..T = len(encoders) = len(decoders), z_0 = x (batch, ...); levels may differ in shape, and
    log_var may broadcast against mean. theta goes to every one of them whole. Everything is per
    example, in nats, and differentiable in theta.

    ValueError for lists of different lengths or none at all, and later for shapes that do not
    chain, log-variances that are not finite, eps of the wrong length or shape; each names the
    level.
    """

    def __init__(self, encoders: Sequence[Callable], decoders: Sequence[Callable]):
        self.encoders, self.decoders = list(encoders), list(decoders)
        if not self.encoders or len(self.encoders) != len(self.decoders):
            raise ValueError(f"MarkovianHVAE: expected as many encoders as decoders, at least "
                             f"one, got {len(self.encoders)} and {len(self.decoders)}")
        self.T = len(self.encoders)

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict:
        """Parameters of encoders and decoders that are GaussianConditionals: {name: parameters}."""
        parts = [part for part in (*self.encoders, *self.decoders)
                 if isinstance(part, GaussianConditional)]
        if len({part.name for part in parts}) < len({id(part) for part in parts}):
            raise ValueError(f"MarkovianHVAE: two GaussianConditionals have one name: "
                             f"{[part.name for part in parts]}")
        return {part.name: part.init(rng, dtype) for part in parts}

    # -- the two distributions, each with its formula

    def log_joint(self, theta: Any, x: Any, zs: Sequence[Any]) -> Any:
        """log p(x, z_1:T) = log N(z_T; 0, I) + sum_t log p(z_{t-1} given z_t) (batch,); zs = [z_1,
        ..., z_T]. 13.2, 13.18."""
        path = self._path(x, zs)
        total = sum_per_example(log_normal(path[-1], 0.0, 0.0))
        for t in range(1, self.T + 1):
            mean, log_var = self._conditional("decoder", t, theta, path[t])
            if mean.shape != path[t - 1].shape:
                raise ValueError(f"decoder {t}: the mean of p(z_{t - 1} given z_{t}) must have "
                                 f"z_{t - 1}'s shape {path[t - 1].shape}, got {mean.shape}")
            total = total + sum_per_example(log_normal(path[t - 1], mean, log_var))
        return total

    def log_posterior(self, theta: Any, x: Any, zs: Sequence[Any]) -> Any:
        """log q(z_1:T given x) = sum_t log q(z_t given z_{t-1}) (batch,). 13.3, 13.19."""
        path, total = self._path(x, zs), 0.0
        for t in range(1, self.T + 1):
            mean, log_var = self._conditional("encoder", t, theta, path[t - 1])
            if mean.shape != path[t].shape:
                raise ValueError(f"encoder {t}: the mean of q(z_{t} given z_{t - 1}) has shape "
                                 f"{mean.shape}, but z_{t} {path[t].shape}")
            total = total + sum_per_example(log_normal(path[t], mean, log_var))
        return total

    def encode(self, theta: Any, x: Any, rng: np.random.Generator | None = None, *,
               eps: Sequence[Any] | None = None) -> list:
        """[z_1, ..., z_T] ~ q(z_1:T given x), z_t = mean + exp(log_var/2) eps[t-1]."""
        return self._encode(theta, x, rng, eps)[0]

    # -- the bounds

    def elbo(self, theta: Any, x: Any, rng: np.random.Generator | None = None, *,
             eps: Sequence[Any] | None = None) -> Any:
        """One sample of log p(x, z_1:T) - log q(z_1:T given x) for every example (batch,), z_1:T
        from q: the joint form, 13.21.

        Its mean over eps is the ELBO. eps: T arrays, eps[t-1] of z_t's shape makes z_t from
        z_{t-1}; rng draws them in this order.
        """
        zs, log_q = self._encode(theta, x, rng, eps)
        return self.log_joint(theta, x, zs) - log_q

    def importance_bound(self, theta: Any, x: Any, samples: int,
                         rng: np.random.Generator | None = None, *,
                         eps: Sequence[Any] | None = None) -> Any:
        """log 1/K sum_k p(x, z^k)/q(z^k given x), K = samples (batch,): a bound that rises with K
        (Burda et al. 2016); K = 1 is the ELBO.

        eps: T arrays (K, batch, ...).
        """
        samples = checks.integer("importance_bound: samples", samples)
        x = checks.floats("x", x)
        if eps is not None:
            for t, e in enumerate(eps, start=1):
                if np.ndim(e) < 2 or np.shape(e)[:2] != (samples, len(x)):
                    raise ValueError(f"importance_bound: eps[{t - 1}] must have shape ({samples}, "
                                     f"{len(x)}, ...), got {np.shape(e)}")
            eps = [np.reshape(e, (samples * len(x), *np.shape(e)[2:])) for e in eps]
        many = np.reshape(np.broadcast_to(x, (samples, *x.shape)), (samples * len(x), *x.shape[1:]))
        log_ratio = np.reshape(self.elbo(theta, many, rng, eps=eps), (samples, len(x)))
        return logsumexp(log_ratio, axis=0) - math.log(samples)

    # -- sampling from p

    def sample(self, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *,
               z_T: Any = None,
               eps: Sequence[Any] | None = None) -> np.ndarray:
        """x from p: z_T ~ N(0, I) of the given shape (n, ...), then p(z_{t-1} given z_t) down to x.
        See ancestral_path."""
        *_, (_, x) = self.ancestral_path(theta, shape, rng, z_T=z_T, eps=eps)
        return x

    def ancestral_path(self, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *,
                       z_T: Any = None,
                       eps: Sequence[Any] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(t, z_t) for t = T, ..., 0. z_T of that shape and eps (T arrays, eps[t-1] makes z_{t-1}
        from z_t) may be given."""
        dtype = float_dtype(theta) if z_T is None else np.asarray(z_T).dtype
        if dtype.kind != "f":
            raise TypeError(f"sample: z_T must hold floats, got dtype {dtype}")
        noise = _Noise("sample", rng, None if eps is None else list(eps)[::-1], self.T,
                       also=z_T is None)
        z = noise.draw(tuple(shape), dtype) if z_T is None else np.asarray(z_T)
        if z.shape != tuple(shape):
            raise ValueError(f"sample: z_T must have the shape {tuple(shape)}, got {z.shape}")
        yield self.T, z
        for t in range(self.T, 0, -1):
            mean, log_var = self._conditional("decoder", t, theta, z)
            z = mean + np.exp(0.5 * log_var) * noise(t - 1, mean)
            yield t - 1, z

    # -- the pieces

    def _encode(self, theta: Any, x: Any, rng: Any, eps: Any) -> tuple[list, Any]:
        z, zs, log_q = checks.floats("x", x), [], 0.0
        noise = _Noise("encode", rng, eps, self.T)
        for t in range(1, self.T + 1):
            mean, log_var = self._conditional("encoder", t, theta, z)
            e = noise(t, mean)
            z = mean + np.exp(0.5 * log_var) * e
            # log N(z; mean, var) at this z: its distance from the mean is eps, exactly
            log_q = log_q + sum_per_example(log_normal(e, 0.0, 0.0) - 0.5 * log_var)
            zs.append(z)
        return zs, log_q

    def _conditional(self, kind: str, t: int, theta: Any, z: Any) -> tuple[Any, Any]:
        part = (self.encoders if kind == "encoder" else self.decoders)[t - 1]
        try:
            made = part(theta, z)
        except ValueError as error:
            raise ValueError(f"{kind} {t}, given z_{t - 1 if kind == 'encoder' else t} of shape "
                             f"{z.shape}: {error}") from error
        if not isinstance(made, tuple) or len(made) != 2:
            raise TypeError(f"{kind} {t} must return a tuple (mean, log_var), got "
                            f"{type(made).__name__}")
        mean, log_var = made
        if not isinstance(mean, (np.ndarray, Tensor)) or mean.dtype.kind != "f":
            raise TypeError(f"{kind} {t}: expected a mean of floats, got {type(mean).__name__} of "
                            f"dtype {getattr(mean, 'dtype', None)}")
        if np.shape(mean)[:1] != z.shape[:1] or not _broadcasts(np.shape(log_var), np.shape(mean)):
            raise ValueError(f"{kind} {t}: expected a mean of shape ({len(z)}, ...) and a log_var "
                             f"that broadcasts against it, "
                             f"got {np.shape(mean)} and {np.shape(log_var)}")
        if not np.all(np.isfinite(log_var)):
            raise ValueError(f"{kind} {t} gives a log-variance that is not finite")
        if type(log_var) is not Tensor:
            log_var = np.asarray(log_var, mean.dtype)  # a number must not widen float32
        return mean, log_var

    def _path(self, x: Any, zs: Sequence[Any]) -> list:
        path = [checks.floats("x", x), *zs]
        if len(path) != self.T + 1:
            raise ValueError(f"expected {self.T} latents z_1, ..., z_{self.T}, got {len(path) - 1}")
        return path


class GaussianConditional:
    """A diagonal Gaussian over n_out numbers given n_in: an MLP with a mean head and a log-variance
    head.

    GaussianConditional(name, n_in, n_out, hidden=(64, 64), max_log_var=10, activation="tanh"):
    part(theta, z) -> (mean, log_var), both (batch, n_out), from theta[name]. log_var = m
    tanh(head/m) with m = max_log_var: within (-m, m), so that no variance gets lost.
    """

    def __init__(self, name: str, n_in: int, n_out: int, hidden: Sequence[int] = (64, 64),
                 max_log_var: float = 10.0, activation: str = "tanh"):
        self.name, self.n_out, self.max_log_var = name, n_out, float(max_log_var)
        self.net = MLP((n_in, *hidden, 2 * n_out), activation)
        if not 0 < self.max_log_var < math.inf:
            raise ValueError(f"GaussianConditional: max_log_var must be positive and finite, got "
                             f"{max_log_var!r}")

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """The MLP's random parameters, both heads scaled by 0.3: a chain of wild first guesses
        trains badly."""
        theta = self.net.init(rng, dtype)
        theta[list(theta)[-2]] *= 0.3
        return theta

    def __call__(self, theta: dict, z: Any) -> tuple[Any, Any]:
        out = self.net(theta[self.name], z)
        mean, head = out[..., : self.n_out], out[..., self.n_out :]
        return mean, self.max_log_var * np.tanh(head / self.max_log_var)


class _Noise:
    """Standard normal draws, injected or from rng: noise(level, like) has like's shape and
    dtype."""

    def __init__(self, who: str, rng: Any, eps: Sequence[Any] | None, n: int, also: bool = False):
        if (rng is None) == (eps is None) and not (also and rng is not None):
            raise ValueError(f"{who}: give either rng or eps")
        if rng is not None:
            checks.generator(f"{who}: rng", rng)
        if also and rng is None:
            raise ValueError(f"{who}: without z_T it needs rng")
        if eps is not None and len(eps) != n:
            raise ValueError(f"{who}: eps must hold {n} arrays, one for each level, got {len(eps)}")
        self.who, self.rng, self.eps = who, rng, None if eps is None else iter(eps)

    def draw(self, shape: tuple, dtype: Any) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype)

    def __call__(self, level: int, like: Any) -> Any:
        if self.eps is None:
            return self.draw(like.shape, like.dtype)
        e = next(self.eps)
        if np.shape(e) != like.shape:
            raise ValueError(f"{self.who}: the eps that makes z_{level} must have shape "
                             f"{like.shape}, got {np.shape(e)}")
        if type(e) is Tensor:
            return e
        e = np.asarray(e)
        if e.dtype.kind not in "fiu" or not np.isfinite(e).all():
            raise ValueError(f"{self.who}: the eps that makes z_{level} must hold finite real "
                             f"numbers, got dtype {e.dtype}")
        return e.astype(like.dtype, copy=False)


def _broadcasts(shape: tuple, onto: tuple) -> bool:
    return len(shape) <= len(onto) and all(n in (1, m) for n, m in zip(shape[::-1], onto[::-1]))
