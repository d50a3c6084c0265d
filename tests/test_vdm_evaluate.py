"""The bound of a data set: the noise belongs to the example, so that neither chunks nor executors
change the numbers."""
import io
import multiprocessing
import os
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from refvdm.vdm import (
    VDM,
    EvaluationError,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    Schedule,
    evaluate,
)
from refvdm.vdm.denoiser import GaussianDenoiser

SCHEDULE = Schedule.linear_gamma(6, -4, 3)
DATA = np.random.default_rng(99).standard_normal((10, 2))
THETA = {"w": np.array(0.8)}


def denoiser(theta, x, t):
    return np.tanh(theta["w"] * x) / (1 + np.reshape(t, (-1,) + (1,) * (x.ndim - 1)).astype(x.dtype) / 9)


def dies(theta, x, t):
    os._exit(3)


def confused(theta, x, t):
    if np.any(x > 50):
        raise ZeroDivisionError("nothing left of x")
    return x


MODEL = VDM(denoiser, SCHEDULE, GaussianDecoder(0.1))


def noise_of(seed, first, shape, dtype=np.float64):
    """The documented noise of the examples from `first` on: (T, n, ...)."""
    T = SCHEDULE.T
    streams = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(first + i,))) for i in range(shape[0])]
    return np.stack([stream.standard_normal((T, *shape[1:]), dtype) for stream in streams], axis=1)


def same(a, b):
    return type(a) is type(b) and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b))


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("shape", [(5,), (7, 2), (3, 2, 2)])
def test_is_the_elbo_with_the_noise_of_each_example(shape):
    data = np.random.default_rng(99).standard_normal(shape)
    got = evaluate(MODEL, THETA, data, seed=4)
    expected = MODEL.elbo(THETA, data, eps=noise_of(4, 0, shape))
    for a, b in zip(got, expected):
        assert a.shape == (shape[0],)
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(got.total, got.reconstruction - got.prior_kl - got.diffusion_kl, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3, 4, np.int64(9), 10, 11, 1000])
def test_every_chunk_size_gives_the_same_numbers(chunk):
    for a, b in zip(evaluate(MODEL, THETA, DATA, chunk=chunk), evaluate(MODEL, THETA, DATA)):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_chunk_is_what_the_model_sees_at_a_time():
    sizes = []
    model = VDM(lambda theta, x, t: sizes.append(len(x)) or x / 2, SCHEDULE, GaussianDecoder(1.0))
    evaluate(model, None, np.zeros((70, 1)))
    assert sizes[::2] == [32, 32, 6] and sizes[1::2] == [5 * 32, 5 * 32, 5 * 6]


def test_the_first_examples_do_not_depend_on_those_behind_them():
    whole, part = evaluate(MODEL, THETA, DATA, chunk=4, seed=1), evaluate(MODEL, THETA, DATA[:5], chunk=4, seed=1)
    np.testing.assert_allclose(part.total, whole.total[:5], rtol=1e-12)


def test_the_seed_gives_the_bits_and_another_one_other_numbers():
    base = evaluate(MODEL, THETA, DATA)
    assert same(base, evaluate(MODEL, THETA, DATA, seed=0))
    assert same(base, evaluate(MODEL, THETA, DATA, seed=np.int32(0)))
    other = evaluate(MODEL, THETA, DATA, seed=1)
    assert np.all(other.diffusion_kl != base.diffusion_kl) and np.array_equal(other.prior_kl, base.prior_kl)
    alike = evaluate(MODEL, THETA, np.ones((8, 2)))
    assert len(np.unique(alike.total)) == 8


def test_no_example_gets_the_noise_that_default_rng_gives_for_the_seed():
    """Data drawn from default_rng(0) and a bound with seed 0 must not share their numbers:
    the noise would be the data itself."""
    seen = []
    noise_only = Schedule.linear_gamma(6, 40, 50)
    model = VDM(lambda theta, x, t: seen.append(x) or x, noise_only, GaussianDecoder(1.0))
    data = np.random.default_rng(0).standard_normal((10, 2))
    evaluate(model, None, data, seed=0)
    assert not np.any(np.isclose(seen[0], data, atol=1e-6))


def test_the_mean_is_the_bound():
    """Data N(0, 1), exact denoiser and decoder: minus the entropy, less what T steps lose against their limit."""
    exact = GaussianDenoiser([0.0], [[1.0]], Schedule.linear_gamma(60, -6, 8))
    snr = exact.schedule.snr[1:]
    loss = 0.5 * np.sum((snr[:-1] - snr[1:]) / (1 + snr[1:])) - 0.5 * np.log((1 + snr[0]) / (1 + snr[-1]))
    data = np.random.default_rng(5).standard_normal((2000, 1))
    total = evaluate(VDM(exact, exact.schedule, ExactDecoder(exact)), None, data, seed=3, chunk=500).total
    assert abs(total.mean() + 0.5 * np.log(2 * np.pi * np.e) + loss) < 4 * total.std() / np.sqrt(2000) < loss / 2


def test_float32_stays_and_agrees():
    low = DATA.astype(np.float32)
    got = evaluate(MODEL, {"w": np.array(0.8, np.float32)}, low, chunk=4, seed=2)
    expected = MODEL.elbo({"w": np.array(0.8, np.float32)}, low, eps=noise_of(2, 0, low.shape, np.float32))
    for a, b in zip(got, expected):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert evaluate(MODEL, THETA, DATA[:2].astype(np.float16)).total.shape == (2,)


# ---------------------------------------------------------------- executors


class Lazy(Executor):
    """Nothing runs until a result is asked for, then all of it, the last first.
    Remembers the tasks and who was cancelled."""

    def __init__(self, broken=None, error=None):
        self.tasks, self.futures, self.broken, self.error = [], [], broken, error

    def submit(self, f, *args):
        executor, i = self, len(self.tasks)

        class Late(Future):
            def result(self, timeout=None):
                executor.run()
                return super().result(timeout)

        self.tasks.append((f, args))
        self.futures.append(Late())
        assert i < 100
        return self.futures[-1]

    def run(self):
        for i in reversed(range(len(self.tasks))):
            if not self.futures[i].done():
                if i == self.broken:
                    self.futures[i].set_exception(self.error)
                elif self.broken is None or i < self.broken:
                    self.futures[i].set_result(self.tasks[i][0](*self.tasks[i][1]))


def test_a_process_pool_gives_the_bits_of_the_serial_run(pool):
    for chunk in (3, 10):
        assert same(evaluate(MODEL, THETA, DATA, chunk=chunk, executor=pool), evaluate(MODEL, THETA, DATA, chunk=chunk))
    exact = GaussianDenoiser([0.0, 0.3], np.eye(2), SCHEDULE)
    learned = LearnedSchedule(6, -4.0, 3.0)
    model = VDM(exact, learned, ExactDecoder(exact))
    theta = {"denoiser": None, "schedule": learned.init(np.random.default_rng(0))}
    assert same(evaluate(model, theta, DATA, chunk=4, executor=pool), evaluate(model, theta, DATA, chunk=4))


def test_threads_give_the_bits_of_the_serial_run():
    model = VDM(lambda theta, x, t: denoiser(theta, x, t), SCHEDULE, GaussianDecoder(0.1))
    with ThreadPoolExecutor(2) as pool:
        for chunk in (1, 3, 32):
            assert same(evaluate(model, THETA, DATA, chunk=chunk, executor=pool),
                        evaluate(MODEL, THETA, DATA, chunk=chunk))


def test_the_order_of_completion_does_not_matter():
    lazy = Lazy()
    assert same(evaluate(MODEL, THETA, DATA, chunk=3, executor=lazy), evaluate(MODEL, THETA, DATA, chunk=3))
    assert [len(args[2]) for _, args in lazy.tasks] == [3, 3, 3, 1]


def test_a_dask_cluster_gives_the_bits_of_the_serial_run():
    distributed = pytest.importorskip("dask.distributed")
    with (distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                                   dashboard_address=None) as cluster,
          distributed.Client(cluster) as client):
        assert same(evaluate(MODEL, THETA, DATA, chunk=4, executor=client.get_executor()),
                    evaluate(MODEL, THETA, DATA, chunk=4))


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("broken, names", [(0, "0 to 2"), (1, "3 to 5"), (3, "9 to 9")])
def test_a_chunk_that_fails_is_named_and_those_behind_it_are_cancelled(broken, names):
    error = OSError("the node is gone")
    lazy = Lazy(broken, error)
    with pytest.raises(EvaluationError,
                       match=f"the chunk of examples {names} failed: OSError: the node is gone") as caught:
        evaluate(MODEL, THETA, DATA, chunk=3, executor=lazy)
    assert caught.value.__cause__ is error and isinstance(caught.value, RuntimeError)
    assert [future.cancelled() for future in lazy.futures] == [False] * (broken + 1) + [True] * (3 - broken)


def test_an_executor_that_takes_no_tasks_is_an_error():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(EvaluationError,
                       match="the chunk of examples 0 to 3 failed: RuntimeError: cannot schedule new futures"):
        evaluate(MODEL, THETA, DATA, chunk=4, executor=pool)


def test_a_process_that_dies_is_an_error():
    with (ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
          pytest.raises(EvaluationError, match="the chunk of examples 0 to 4 failed: BrokenProcessPool")):
        evaluate(VDM(dies, SCHEDULE, GaussianDecoder(1.0)), None, DATA, chunk=5, executor=pool)


def test_an_error_of_the_denoiser_is_named(pool):
    data, model = DATA.copy(), VDM(confused, SCHEDULE, GaussianDecoder(1.0))
    data[7] = 1e3
    with ThreadPoolExecutor(2) as threads:
        for executor in (threads, pool):
            with pytest.raises(EvaluationError,
                               match="the chunk of examples 6 to 8 failed: ZeroDivisionError: nothing left of x"):
                evaluate(model, None, data, chunk=3, executor=executor)
    with pytest.raises((ZeroDivisionError, EvaluationError), match="nothing left of x"):
        evaluate(model, None, data)


def test_a_type_error_of_the_denoiser_is_named_as_it_is(pool):
    """Picklable, so that it is not taken for what cannot be sent."""
    for executor in (pool, Lazy()):
        with pytest.raises(EvaluationError, match="the chunk of examples 0 to 9 failed: (TypeError|KeyError)"):
            evaluate(MODEL, 3, DATA, executor=executor)


@pytest.mark.parametrize("error", [TypeError, AttributeError])
def test_an_error_in_a_thread_is_never_laid_on_pickling(error):
    """Threads need no pickle: a lambda as denoiser is fine there, and its own error must be told."""
    def local(theta, x, t):
        raise error("its own mistake")

    with (ThreadPoolExecutor(1) as pool, pytest.raises(EvaluationError, match=f"{error.__name__}: its own mistake")):
        evaluate(VDM(local, SCHEDULE, GaussianDecoder(1.0)), None, DATA, executor=pool)


class Unsendable(GaussianDecoder):
    def __reduce__(self):
        raise TypeError("not this one")


PARTS = {"denoiser": (VDM(lambda theta, x, t: x, SCHEDULE, GaussianDecoder(1.0)), None),
         "decoder": (VDM(confused, SCHEDULE, Unsendable(1.0)), None),
         "theta": (VDM(confused, SCHEDULE, GaussianDecoder(1.0)), {"w": lambda: 0})}


@pytest.mark.parametrize("part", PARTS)
def test_a_model_that_cannot_be_sent_is_a_type_error_that_names_the_part(part, pool):
    model, theta = PARTS[part]
    with pytest.raises(TypeError,
                       match=rf"evaluate: (the vdm's )?{part} cannot be sent to another process \(") as caught:
        evaluate(model, theta, DATA, chunk=3, executor=pool)
    assert "ThreadPoolExecutor" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert evaluate(model, theta, DATA, chunk=3).total.shape == (10,)  # here it needs no sending


def test_errors_in_the_arguments():
    for chunk in (0, -1, 2.0, True, None, "3"):
        with pytest.raises(ValueError, match="evaluate: chunk must be an integer of at least 1, got"):
            evaluate(MODEL, THETA, DATA, chunk=chunk)
    for seed in (-1, 0.0, True, None, [1]):
        with pytest.raises(ValueError, match="evaluate: seed must be an integer of at least 0, got"):
            evaluate(MODEL, THETA, DATA, seed=seed)
    with pytest.raises(ValueError, match="evaluate: data must hold at least one example"):
        evaluate(MODEL, THETA, DATA[:0])
    with pytest.raises(ValueError, match=r"evaluate: data must be finite, got nan at index \(7, 1\)"):
        evaluate(MODEL, THETA, np.where(np.arange(20).reshape(10, 2) == 15, np.nan, DATA), chunk=2)
    for bad in (DATA.astype(int), DATA.tolist()):
        with pytest.raises(TypeError, match="evaluate: data must be an array of floats"):
            evaluate(MODEL, THETA, bad)


# ---------------------------------------------------------------- progress


class Terminal(io.StringIO):
    terminal, flushes = True, 0

    def flush(self):
        self.flushes += 1

    def isatty(self):
        return self.terminal


BAR = "\revaluate [###############...............] 1/2 chunks\revaluate [##############################] 2/2 chunks\n"


@pytest.mark.parametrize("executor", [None, Lazy])
def test_one_bar_on_a_terminal(monkeypatch, executor):
    monkeypatch.setattr(sys, "stderr", Terminal())
    evaluate(MODEL, THETA, DATA, chunk=5, executor=executor and executor())
    assert sys.stderr.getvalue() == BAR and sys.stderr.flushes >= 2


def test_no_bar_without_a_terminal_or_when_not_wanted(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    evaluate(MODEL, THETA, DATA, chunk=5, progress=False)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(Terminal, "terminal", False)
    evaluate(MODEL, THETA, DATA, chunk=5)
    assert sys.stderr.getvalue() == "" and capsys.readouterr().out == ""


def test_the_bar_rounds_down(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    evaluate(MODEL, THETA, DATA[:7], chunk=1)
    assert [line.count("#") for line in sys.stderr.getvalue().split("\r")[1:]] == [30 * i // 7 for i in range(1, 8)]
