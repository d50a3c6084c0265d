"""Modules as adapters: what they may return, what is said of what they return instead."""
import os
import subprocess
import sys

import numpy as np
import pytest
from conformance_adapters import ROOT, Right, one, right_q_step, write
from hypothesis import given, settings
from hypothesis import strategies as st

from refvdm.conformance import OPERATIONS, check, implemented
from refvdm.conformance.judge import ERROR, FAIL, MISSING, PASS


def test_the_reference_passes_and_an_empty_adapter_is_told():
    report = check(Right)
    assert report.status == 0 and {v.status for v in report.verdicts} == {PASS}
    assert [v.name for v in report.verdicts] == list(OPERATIONS)
    empty = check(object())
    assert empty.status == 2 and {v.status for v in empty.verdicts} == {MISSING}


@pytest.mark.parametrize("returns", [
    lambda mean, var: {"mean": mean, "var": var},
    lambda mean, var: [mean.tolist(), var.tolist()],
    lambda mean, var: (mean, var[:, None]),
    lambda mean, var: (mean, np.repeat(var[:, None], mean.shape[1], 1)[:, 0]),
])
def test_what_may_be_returned(returns):
    assert one(lambda x_prev, betas, t: returns(*right_q_step(x_prev, betas, t))).status == PASS


@pytest.mark.parametrize("returned, told", [
    (None, "must return 2 outputs, mean, var, got NoneType"),
    ((1.0, 2.0, 3.0), "got 3"), ({"mean": 1}, "keys mean"),
    ((np.zeros((2, 99)), np.zeros(4)), "mean must have shape (4, 3), got (2, 99)"),
    (("huge" * 1000, 1.0), "must hold real numbers"), ((1j, 1.0), "complex128"),
    ((np.zeros((4, 3)), np.array([None] * 4)), "must hold real numbers"),
    (([[1.0], [2.0, 3.0]], 1.0), "is no array"),
])
def test_answers_that_are_none(returned, told):
    verdict = one(lambda x_prev, betas, t: returned)
    assert verdict.status == ERROR and told in verdict.why, verdict.why


def test_nan_fails_and_exceptions_are_lines_of_the_report():
    verdict = one(lambda x_prev, betas, t: (np.nan * x_prev, betas[t - 1]))
    assert verdict.status == FAIL and verdict.worst == np.inf
    verdict = one(lambda x_prev, betas, t: {}["no"])
    assert verdict.status == ERROR and "KeyError: 'no'" in verdict.why
    def later(x_prev, betas, t):
        raise NotImplementedError
    assert one(later).status == MISSING


STRANGE = [np.zeros((0, 3)), object(), np.ma.masked, np.float16(1), np.zeros(3, "M8[s]"), np.array(["a"]), np.array(3),
           np.zeros(2, "i1,f4"), np.broadcast_to(1.0, (10**5, 10**5)), b"bytes", range(3), np, float, iter([1]), {1}]


@settings(max_examples=60)
@given(st.sampled_from(sorted(OPERATIONS)), st.data())
def test_no_answer_crashes_the_kit(name, data):
    """Anything may come back, at any call."""
    scalars = st.one_of(st.none(), st.floats(), st.integers(-5, 5), st.text(max_size=3), st.booleans(),
                        st.complex_numbers(), st.sampled_from(STRANGE))
    answer = data.draw(st.recursive(scalars, lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)), max_leaves=5))
    verdict = one(lambda **inputs: answer, name)
    assert verdict.status in (FAIL, ERROR) and verdict.why


def test_an_adapter_that_writes_into_its_inputs_hurts_nobody():
    def greedy(x_prev, betas, t):
        mean, var = right_q_step(x_prev, betas, t)
        mean, var = mean.copy(), var.copy()
        x_prev[:], betas[:], t[:] = 0, 0, 1
        return mean, var
    assert one(greedy).status == PASS and one(right_q_step).status == PASS


def test_patterns():
    with pytest.warns(UserWarning, match="no operation matches 'nothing\\*'"):
        report = check(Right, only=["q_*", "nothing*"], skip=["q_step"])
    assert [v.name for v in report.verdicts] == ["q_marginal", "q_posterior"]
    class Wrong:
        q_step = staticmethod(lambda x_prev, betas, t: (x_prev, betas[t - 1]))
    assert check(Wrong).status == 1 and check(Wrong, expect_fail=["q_s*"]).status == 0
    assert check(Right, only=["q_step"], expect_fail=["q_step"]).status == 1
    table = check(Wrong, expect_fail=["q_step"], only=["q_step"]).table()
    assert "FAIL (expected)" in table and "variance exploding" in table and max(map(len, table.splitlines())) <= 100


def test_float32_is_judged_as_float32():
    class Single(Right):
        dtype = "float32"
    assert check(Single, only=["q_*", "kl_t", "plu_*"]).status == 0
    seen = []
    def spy(x_prev, betas, t):
        seen.append(x_prev.dtype)
        return right_q_step(x_prev, betas, t)
    assert check(type("A", (), {"dtype": np.float32, "q_step": staticmethod(spy)})).verdicts
    assert set(seen) == {np.dtype(np.float32)}


def test_parameters_may_have_other_names_and_an_exit_is_an_error():
    assert one(lambda x, beta, i: right_q_step(x, beta, i)).status == PASS
    assert one(lambda *args: right_q_step(*args)).status == PASS
    assert one(lambda **inputs: right_q_step(**inputs)).status == PASS
    assert "missing 1 required" in one(lambda a, b, c, d: 0).why
    verdict = one(lambda x_prev, betas, t: sys.exit(0))
    assert verdict.status == ERROR and "SystemExit" in verdict.why
    def typing(x_prev, betas, t):
        raise TypeError("mine")
    assert one(typing).why == "case 0: TypeError: mine"


def test_shapes_that_nearly_fit_are_told_how():
    def elementwise(mean_q, var_q, mean_p, var_p):
        return 0.5 * (var_q / var_p - 1 - np.log(var_q / var_p) + (mean_q - mean_p) ** 2 / var_p)
    assert one(elementwise, "gaussian_kl").why == "case 0: gaussian_kl: kl must have shape (4,), got (4, 3); " \
        "summed over axis 1 it agrees"
    assert "it is transposed" in one(lambda x_prev, betas, t: (x_prev.T, betas[t - 1])).why


def test_what_is_seen_where_no_mistake_explains_it():
    def seen(change, name="plu_forward", output="y"):
        right = OPERATIONS[name].reference
        def wrong(**inputs):
            found = OPERATIONS[name].named(right(**inputs))
            return {**found, output: change(np.array(found[output], float))}
        verdict = one(wrong, name)
        assert verdict.status == FAIL and "no known mistake" in verdict.why
        return verdict.why
    assert "y is 1.3 times what it should be, everywhere" in seen(lambda y: 1.3 * y)
    assert "y is a factor off, another in every case: 4, 2, 3" in seen(lambda y: len(y) * y)
    assert "y is a constant off, in the first case 0.25" in seen(lambda y: y + 0.25)
    assert "y is right but for the signs of some" in seen(np.abs)
    assert "y holds the right numbers in another order" in seen(lambda y: y.reshape(-1)[::-1].reshape(y.shape))
    assert "y agrees to 4.0 digits of its largest number: an approximation" in seen(
        lambda y: y + 1e-4 * np.max(np.abs(y)) * (-1) ** np.arange(y.size).reshape(y.shape))
    why = seen(lambda y: y + (np.arange(y.size).reshape(y.shape) == 1))
    assert "case 0: y[0, 1] is" in why and "1 of 12 numbers differ), log_det agrees" in why
    assert "float32 somewhere, as in 1 - ᾱ" in seen(
        lambda y: (1 - (1 - y).astype(np.float32)).astype(float), "schedule_tables", "one_minus_alpha_bar")
    def single(x, perm, lower, upper):
        return [y.astype(float) for y in OPERATIONS["plu_forward"].reference(
            x.astype("f"), perm, lower.astype("f"), upper.astype("f"))]
    why = one(single, "plu_forward").why
    assert 'something inside is float32 (dtype = "float32" in the adapter, to be judged so); case 0' in why
    assert "y[0, 0] is -0.550343" not in why  # as many digits as it takes to tell them apart


def test_three_mistakes_are_named_part_by_part_and_first_things_come_first():
    def wrong(x, perm, lower, upper):
        y, log_det = OPERATIONS["plu_forward"].reference(
            x, np.argsort(perm), lower, upper * np.sign(np.diag(np.diag(upper)) + np.triu(np.ones_like(upper), 1)))
        return y, 3 - log_det
    why = one(wrong, "plu_forward").why
    assert why.startswith("no one mistake explains it all; y matches if P is read as its inverse and "
                          "U's diagonal loses its sign; log_det is a factor off, another in every case: ")
    class Wrong:
        odeint = staticmethod(lambda field, z0, ts, theta: np.outer(np.ones(len(ts)), z0))
        odeint_gradients = staticmethod(lambda field, z0, ts, theta, zs_bar: (z0 + 3, theta + 3, ts + 3))
    why = [v.why for v in check(Wrong, only=["odeint*"]).verdicts if v.why]
    assert why[0].startswith("no known mistake") and why[1].startswith("mend odeint first; no known mistake")
    Wrong.rk4 = staticmethod(lambda field, z0, ts, theta, steps: z0)
    why = [v.why for v in check(Wrong, only=["odeint", "rk4"]).verdicts]
    assert why[0].startswith("mend rk4 first; no known mistake") and why[1].endswith(
        'op = OPERATIONS["rk4"]; op.answer(op.fixed_cases()[0])')


def test_a_solver_of_lower_order_is_not_told_from_another_formula():
    def odeint(field, z0, ts, theta):
        zs = OPERATIONS["odeint"].reference(field, z0, ts, theta)
        return zs * (1 + 1e-4 * np.sin(np.arange(zs.size)).reshape(zs.shape))
    why = one(odeint, "odeint").why
    assert "or a method of lower order than it claims" in why and "another formula" not in why


def test_a_function_for_pytest(tmp_path):
    write(tmp_path / "mine.py", """
        import numpy as np
        def q_step(x_prev, betas, t):
            return np.sqrt(1 - betas[t - 1])[:, None] * x_prev, betas[t - 1]
        def q_marginal(x_0, betas, t):
            return x_0, betas[t - 1]
        def mlp(**inputs):
            raise NotImplementedError
    """)
    test = write(tmp_path / "test_mine.py", """
        import mine
        from refvdm.conformance import pytest_function
        test_conformance = pytest_function(mine)
    """)
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test], cwd=tmp_path,
                         check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert ran.returncode == 1 and "1 failed, 1 passed, 1 skipped" in ran.stdout, ran.stdout
    assert "q_marginal: 3 of 3 cases, worst error" in ran.stdout
    assert implemented(Right) == list(OPERATIONS)


class Tensor:
    """What torch's tensors do: NumPy gets none that is recorded, on a GPU, or of bfloat16."""

    def __init__(self, x, dtype="torch.float64", recorded=True, device="cuda"):
        self.x, self.dtype, self.recorded, self.device = x, dtype, recorded, device

    def detach(self):
        return Tensor(self.x, self.dtype, False, self.device)

    def cpu(self):
        return Tensor(self.x, self.dtype, self.recorded, "cpu")

    def double(self):
        return Tensor(self.x, "torch.float64", self.recorded, self.device)

    def numpy(self):
        if self.recorded or self.device != "cpu" or self.dtype == "torch.bfloat16":
            raise TypeError("cannot convert")
        return self.x.astype(self.dtype.split(".")[1])


@pytest.mark.parametrize("dtype, status", [("torch.float64", PASS), ("torch.bfloat16", PASS), ("torch.float32", FAIL)])
def test_tensors_are_taken_off_their_device_and_tape(dtype, status):
    verdict = one(lambda x_prev, betas, t: [Tensor(y, dtype) for y in right_q_step(x_prev, betas, t)])
    assert verdict.status == status, verdict
    assert status == PASS or "something inside is float32" in verdict.why
