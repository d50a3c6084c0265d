"""Every operation: its reference passes, no mistake is invisible, and each is called by its name."""
import functools

import numpy as np
import pytest

from refvdm.conformance import OPERATIONS
from refvdm.conformance.judge import PASS, judge
from refvdm.conformance.operation import rounded
from refvdm.conformance.tolerance import error, truth, worst

DTYPES = [np.float64, np.float32]
EVERY = [(name, mistake) for name, operation in OPERATIONS.items() for mistake in operation.mistakes]


@functools.cache
def truths_of(name, dtype):
    operation = OPERATIONS[name]
    return [truth(operation, case, dtype) for case in operation.fixed_cases(dtype)]


def truths(operation, dtype=np.float64):
    return truths_of(operation.name, dtype)


@functools.cache
def begun(name, dtype, early):
    return [OPERATIONS[name].begin(case.inputs, early) for case in truths_of(name, dtype)]


def answered(operation, dtype, mistake):
    """operation.answer of every case with this mistake; what only changes outputs costs nothing."""
    with np.errstate(all="ignore"):
        early = (mistake,) if mistake.inputs or mistake.instead else ()
        return [operation.finish(*found, (mistake,)) for found in begun(operation.name, dtype, early)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_reference_passes_in_the_precision_it_is_computed_in(name, dtype):
    operation = OPERATIONS[name]
    known = truths(operation, dtype)
    answers = [operation.named(operation.reference(**{k: rounded(x, dtype) for k, x in case.inputs.items()}))
               for case in known]
    verdict = judge(operation, known, answers)
    assert verdict.status == PASS and verdict.failed == 0 and verdict.worst <= 0.5, verdict


@pytest.mark.parametrize("name, mistake", EVERY, ids=lambda x: getattr(x, "name", x))
def test_no_mistake_is_invisible_and_each_is_called_by_its_name(name, mistake):
    """By 100 tolerances where it is a mistake, and not at all in a case that is too simple for it (a vector has one
    position)."""
    operation = OPERATIONS[name]
    for dtype in DTYPES:
        sizes, answers = [], answered(operation, dtype, mistake)
        for case, got in zip(truths(operation, dtype), answers):
            same = all(np.shape(got[key]) == np.shape(y) for key, y in case.outputs.items())
            sizes.append(worst(error(got, case.outputs, case.tolerances)) if same else np.inf)
        assert max(sizes) >= 100, (dtype, sizes)
        if dtype is np.float64:
            assert all(size >= 100 or size == 0 for size in sizes), sizes
            if np.inf in sizes and not all(np.shape(y) == np.shape(case.outputs[key]) for case, got in zip(
                    truths(operation), answers) for key, y in got.items()):
                continue  # a mistake of shape: refused before it is judged
            verdict = judge(operation, truths(operation), answers)
            assert verdict.failed == sum(size > 1 for size in sizes), verdict
            assert f"match the reference if {mistake.name}" in verdict.why.replace("matches", "match"), verdict.why


@pytest.mark.parametrize("name", OPERATIONS)
def test_cases_are_not_degenerate(name):
    """No P that is its own inverse, no square image, no symmetric map, no number that is 0, no D = 1."""
    for case in OPERATIONS[name].fixed_cases():
        shapes = {key: np.shape(x) for key, x in case.items() if not isinstance(x, str)}
        for key, shape in shapes.items():
            x = np.asarray(case[key])
            if key == "perm":
                assert np.any(x[x] != np.arange(len(x)))
            elif x.dtype.kind == "f":
                assert np.all(x != 0) or key in ("lower", "upper")
                if len(shape) >= 2 and shape[-1] == shape[-2] and not key.startswith("cov"):
                    assert not np.allclose(x, np.swapaxes(x, -1, -2))
            assert 1 not in shape[1:]
            if len(shape) == 4 and key in ("x", "y", "log_prob"):
                assert len({*shape[1:]}) == 3 or name in ("squeeze", "actnorm_init", "image_bits_per_dim")
                assert shape[1] != shape[2] or name == "image_bits_per_dim"
        if "times" in case:
            assert len(case["betas"]) % len(case["times"]) and len(np.unique(np.diff(case["times"]))) > 1
        if "t" in case and name != "continuous_loss":
            assert len(set(case["t"].tolist())) > 1
    for case in truths(OPERATIONS[name]):
        for key, y in case.outputs.items():
            zeros = np.count_nonzero(np.abs(y) < 1e-3 * np.max(np.abs(y), initial=0))
            assert key in ("lower_bar", "upper_bar") or name == "schedule_tables" or zeros <= y.size // 4
            assert key != "log_det" or np.all(np.abs(y) > 0.05)


@pytest.mark.parametrize("name", OPERATIONS)
def test_ten_tolerances_in_any_output_are_caught(name):
    operation = OPERATIONS[name]
    known = truths(operation)
    rng = np.random.default_rng(1)
    for key in operation.outputs:
        answers = [{k: np.array(y) for k, y in case.outputs.items()} for case in known]
        flat, at = answers[-1][key].reshape(-1), rng.integers(answers[-1][key].size)
        flat[at] += 10 * known[-1].tolerances[key].reshape(-1)[at]
        answers[-1][key] = flat.reshape(known[-1].outputs[key].shape)
        sizes = [worst(error(got, case.outputs, case.tolerances)) for case, got in zip(known, answers)]
        assert max(sizes[:-1]) == 0 and 5 < sizes[-1] < 20  # up to 1 agrees, see test_conformance_judge.py


def slope(f, x, weight):
    """d(weight . f)/dx by fourth-order differences, in extended precision: good for nine digits."""
    found = np.zeros(x.shape, np.longdouble)
    for at in np.ndindex(x.shape):
        def moved(h, at=at):
            y = x.astype(np.longdouble)
            y[at] += h
            return sum(np.sum(w * v) for w, v in zip(weight, f(y)))
        h = 1e-3
        found[at] = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    return found


@pytest.mark.parametrize("name, of, output, bar, free", [
    ("elbo_gradient", "elbo", 3, "total_bar", ["A", "b"]),
    ("elbo_network_gradient", "elbo_network", 3, "total_bar", ["W1", "b1", "W2", "b2"]),
    ("mlp_vjp", "mlp", 0, "y_bar", ["x", "W1", "b2", "W3"]),
    ("odeint_gradients", "odeint", 0, "zs_bar", ["z0", "theta", "ts"]),
    ("odeint_grid_gradients", "odeint", 0, "zs_bar", ["z0", "theta", "ts"]),
])
def test_references_of_gradients_are_the_slopes_of_the_others(name, of, output, bar, free):
    case = OPERATIONS[name].fixed_cases()[0]
    given = {key: x for key, x in case.items() if key in OPERATIONS[of].inputs}
    expected = OPERATIONS[name].answer(case)
    for key in free:
        def f(x, key=key):
            return [list(OPERATIONS[of].answer({**given, key: x}).values())[output]]
        np.testing.assert_allclose(np.asarray(expected[f"{key}_bar"], float), np.asarray(
            slope(f, np.asarray(case[key]), [case[bar]]), float), rtol=2e-6, atol=2e-6, err_msg=key)


def test_the_reference_of_plu_vjp_is_the_slope_of_plu_forward():
    case = OPERATIONS["plu_vjp"].fixed_cases()[1]
    given, expected = {key: case[key] for key in ("x", "perm", "lower", "upper")}, OPERATIONS["plu_vjp"].answer(case)
    for key, free in (("x", lambda y: y), ("lower", lambda y: np.tril(y, -1)), ("upper", np.triu)):
        found = slope(lambda x, key=key: OPERATIONS["plu_forward"].answer({**given, key: x}).values(), given[key],
                      [case["y_bar"], case["log_det_bar"]])
        np.testing.assert_allclose(np.asarray(expected[f"{key}_bar"], float), free(np.asarray(found, float)),
                                   rtol=1e-7, atol=1e-7)
