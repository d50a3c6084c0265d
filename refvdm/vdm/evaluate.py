"""The exact bound, 13.24, of a whole data set, in chunks, on one core or on many machines, with
the same numbers.

The noise belongs to an example: eps of example i is drawn from
default_rng(SeedSequence(seed, spawn_key=(i,))), whatever chunk it falls into and whoever computes
it. No other use of the seed gives the same stream. So every chunk size gives the same numbers up to
rounding, and at one chunk size every executor gives the same bits.

    evaluate(vdm, theta, data, seed=0)                                  here, with a progress bar

    with ProcessPoolExecutor() as pool:                                 all cores of a laptop
        evaluate(vdm, theta, data, executor=pool)

    from dask.distributed import Client                                 a cluster
    with Client("scheduler:8786") as client:
        evaluate(vdm, theta, data, executor=client.get_executor())

and mpi4py.futures.MPIPoolExecutor likewise: any concurrent.futures.Executor will do.
"""
from __future__ import annotations

import math
import pickle
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree
from .elbo import ELBO
from .kl import examples
from .vdm import VDM


class EvaluationError(RuntimeError):
    """A chunk could not be computed; the message says which examples. Its cause is the executor's
    own exception.

    >>> from refvdm.vdm import EvaluationError
    >>> issubclass(EvaluationError, RuntimeError)
    True
    """


def evaluate(vdm: VDM, theta: Tree, data: Array, *, seed: int = 0, chunk: int = 32,
             executor: Executor | None = None, progress: bool = True) -> ELBO:
    """13.24 for every example of data (n, ...) floats, with the exact sum over t and one draw of
    noise each: an ELBO of arrays (n,), nats.

    chunk       examples at a time; memory and work per task grow with it
    executor    a concurrent.futures.Executor that gets one task for each chunk; without one they
                run here, in turn
    progress    a bar on stderr when there is a terminal

    EvaluationError when an executor's chunk fails, naming it: nothing is dropped. TypeError, naming
    the part, for a model that cannot be sent to another process. ValueError for chunk < 1, a
    negative seed, or data that VDM.elbo would not take.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import evaluate
    >>> evaluate(vdm, None, np.zeros((100, 2)), progress=False).total.shape
    (100,)
    """
    vdm, data = checks.instance("evaluate: vdm", vdm, VDM), examples("evaluate: data", data)
    chunk = checks.integer("evaluate: chunk", chunk)
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError("evaluate: executor must be a concurrent.futures.Executor, got "
                        f"{type(executor).__name__}")
    seed = checks.integer("evaluate: seed", seed, 0)
    starts = range(0, len(data), chunk)
    bar = _Bar(len(starts), progress)
    parts: list[ELBO | None] = [None] * len(starts)
    tasks = [(vdm, theta, data[start : start + chunk], start, seed) for start in starts]
    if executor is None:
        for i, task in enumerate(tasks):
            parts[i] = _chunk(*task)
            bar.update(i + 1)
        bar.close()
    else:
        futures: list[Future] = []
        try:
            for task in tasks:
                futures.append(executor.submit(_chunk, *task))
            for i, future in enumerate(futures):
                parts[i] = future.result()
                bar.update(i + 1)
        except Exception as error:
            if not isinstance(executor, ThreadPoolExecutor):
                _explain(error, vdm, theta)
            first = starts[sum(part is not None for part in parts)]
            last = min(first + chunk, len(data)) - 1
            raise EvaluationError(f"evaluate: the chunk of examples {first} to {last} failed: "
                                  f"{type(error).__name__}: {error}") from error
        finally:  # Ctrl-C too: what has not begun must not begin
            for future in futures:
                future.cancel()
            bar.close()
    return ELBO(*(np.concatenate(column) for column in zip(*parts)))


def _chunk(vdm: VDM, theta: Tree, x_0: np.ndarray, start: int, seed: int) -> ELBO:
    """The bound of the examples start, start + 1, ...; at the top level, so that it can be sent
    elsewhere."""
    T, drawn_as = vdm.schedule.T, x_0.dtype if x_0.dtype == np.float32 else np.float64
    eps = np.empty((T, *x_0.shape), x_0.dtype)
    for i in range(len(x_0)):
        stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start + i,)))
        eps[:, i] = stream.standard_normal((T, *x_0.shape[1:]), drawn_as)
    return vdm.elbo(theta, x_0, eps=eps)


def _explain(error: Exception, vdm: VDM, theta: Tree) -> None:
    """A TypeError that names the part that cannot be pickled, if that is what went wrong."""
    if not isinstance(error, (pickle.PicklingError, AttributeError, TypeError)):
        return
    parts = {"the vdm's denoiser": vdm.denoiser, "the vdm's schedule": vdm.schedule,
             "the vdm's decoder": vdm.decoder, "the vdm's variance": vdm.variance, "theta": theta}
    for name, part in parts.items():
        try:
            pickle.dumps(part)
        except (pickle.PicklingError, AttributeError, TypeError, ValueError) as cause:
            raise TypeError(f"evaluate: {name} cannot be sent to another process ({cause}); use "
                            "classes and functions that are defined at the top level of a module "
                            "(no lambda, no local function), or a ThreadPoolExecutor") from error


class _Bar:
    """chunks done, on stderr, one line that is written over."""

    def __init__(self, n: int, wanted: bool):
        self.n, self.on = n, wanted and sys.stderr.isatty()

    def update(self, done: int) -> None:
        if self.on:
            width = 30
            filled = math.floor(width * done / self.n)
            bar = "#" * filled + "." * (width - filled)
            print(f"\revaluate [{bar}] {done}/{self.n} chunks", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.on:
            print(file=sys.stderr)
