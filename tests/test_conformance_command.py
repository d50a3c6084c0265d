"""The command, adapters that misbehave, programs that misbehave, vectors."""

import io
import json
import os
import queue
import shutil
import subprocess
import sys
import textwrap
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refvdm.conformance import OPERATIONS, check, implemented, vectors, wire
from refvdm.conformance.__main__ import main
from refvdm.conformance.judge import ERROR, FAIL, MISSING, PASS
from refvdm.conformance.program import Program

EXTENDED = np.finfo(np.longdouble).eps < 1e-18
ROOT = Path(__file__).parent.parent
ADAPTERS = ROOT / "examples" / "adapters"


class Right:
    """Every operation as the reference has it."""


for _name, _operation in OPERATIONS.items():
    setattr(Right, _name, staticmethod(_operation.reference))


def one(function, name="q_step"):
    """The verdict on an adapter with this one function."""
    (verdict,) = check(type("Adapter", (), {name: staticmethod(function)}), only=[name]).verdicts
    return verdict


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return str(path)


# ---------------------------------------------------------------- adapters


def test_the_reference_passes_and_an_empty_adapter_is_told():
    report = check(Right)
    assert report.status == 0 and {v.status for v in report.verdicts} == {PASS}
    assert [v.name for v in report.verdicts] == list(OPERATIONS)
    empty = check(object())
    assert empty.status == 2 and {v.status for v in empty.verdicts} == {MISSING}


def right_q_step(x_prev, betas, t):
    beta = betas[t - 1]
    return np.sqrt(1 - beta)[:, None] * x_prev, beta


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


# ---------------------------------------------------------------- the command


def test_list_and_new(tmp_path, capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}(" in out for name in OPERATIONS) and max(map(len, out.splitlines())) <= 100
    assert main(["list", "q_step"]) == 0 and main(["list", "nothing"]) == 2
    path = tmp_path / "mine.py"
    assert main(["new", str(path)]) == 0 and main(["new", str(path)]) == 2  # never over what is there
    capsys.readouterr()
    assert main(["run", str(path)]) == 2 and f"{len(OPERATIONS)} not implemented" in capsys.readouterr().out
    text = path.read_text().replace("# def q_step", "def q_step")
    text = text.replace("def q_step(x_prev, betas, t):\n#     return mean, var",
                        "def q_step(x_prev, betas, t):\n    return x_prev, betas[t]")
    path.write_text(text)
    assert main(["run", str(path), "--only", "q_step"]) == 1
    assert "error" in capsys.readouterr().out


def test_run(tmp_path, capsys):
    path = write(tmp_path / "a.py", """
        import numpy as np
        def q_step(x_prev, betas, t):
            beta = betas[t - 1]
            return np.sqrt(1 - beta)[:, None] * x_prev, np.sqrt(beta)
    """)
    assert main(["run", path]) == 1
    assert "all 3 match the reference if the second output is a standard deviation" in capsys.readouterr().out
    assert main(["run", path, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["dtype"] == "float64" and report["verdicts"][0]["name"] == next(iter(OPERATIONS))
    assert report["numpy"] == np.__version__ and len(report["vectors"]) == 12 and report["status"] == 1
    rows = {row["name"]: row for row in report["verdicts"]}
    assert 0.5e-10 < rows["q_step"]["tolerance"] < 2e-10 and rows["q_step"]["failed"] == 3
    assert rows["mlp"]["status"] == MISSING and rows["mlp"]["worst"] == "nan"
    assert main(["run", path, "--expect-fail", "q_step", "--only", "q_*"]) == 0
    for wrong in (["run"], ["run", path, "--command", "x"], ["run", str(tmp_path / "none.py")],
                  ["run", write(tmp_path / "b.py", "1/0")], ["run", write(tmp_path / "c.py", "dtype = 'int64'")]):
        assert main(wrong) == 2
        assert "refvdm.conformance: " in capsys.readouterr().err


def test_what_an_adapter_prints_is_not_the_report_and_typing_errors_are_told(tmp_path, capsys):
    path = write(tmp_path / "a.py", """
        print("hello")
        def q_stpe(x_prev, betas, t):
            return x_prev, betas
        def q_marginal(x_0, betas, t):
            print("thinking")
            return x_0, betas
    """)
    assert main(["run", path, "--json", "--only", "q_marginal"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["verdicts"][0]["status"] == ERROR
    assert "hello" in err and "thinking" in err and "warning: q_stpe is no operation; is q_step meant?" in err
    assert main(["run", write(tmp_path / "b.py", "import sys; sys.exit(0)")]) == 2


def test_the_table_says_what_its_columns_are(tmp_path, capsys):
    path = write(tmp_path / "a.py", """
        def q_step(x_prev, betas, t):
            return x_prev, betas[t - 1]
        def q_marginal(x_0, betas, t):
            return 1 / 0
    """)
    main(["run", path, "--only", "q_*", "--only", "mlp"])
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()) == (
        "operation result cases that agree worst error/tolerance tolerance")
    rows = {line.split()[0]: line for line in lines if line[:1] not in ("", " ")}
    assert rows["q_step"].split()[1:5] == ["FAIL", "0", "of", "3"] and rows["q_step"].endswith(" 1e-10")
    assert rows["mlp"].split()[1:] == ["not", "implemented"] and rows["q_marginal"].split()[1] == "error"
    assert max(map(len, lines)) <= 100 and any(line.startswith("An error of up to 1 tolerance") for line in lines)
    assert lines[-2] == "0 pass, 1 FAIL, 1 error, 2 not implemented"
    assert lines[-1].startswith("refvdm ") and ", vectors " in lines[-1]


def test_list_says_each_mistake_and_survives_a_closed_pipe(capsys):
    assert main(["list", "--mistakes", "q_marginal"]) == 0
    out = capsys.readouterr().out
    assert out.count("known mistake: ") == len(OPERATIONS["q_marginal"].mistakes)
    assert "x_0: float (batch, D)" in out and "t: int (batch,) integers in 1..T" in out
    assert main(["list", "mlp_vjp"]) == 0
    assert "    -> W1_bar: float (n, n)\n" in capsys.readouterr().out
    closed = subprocess.run(f"{sys.executable} -m refvdm.conformance list | head -1", shell=True, cwd=ROOT, check=False,
                            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert closed.stderr == "" and closed.stdout.startswith("Arrays in, arrays out")


# ---------------------------------------------------------------- programs


def program(tmp_path, body):
    """A program of this body, which has `request` and answers by `say`."""
    return f"{sys.executable} " + write(tmp_path / "p.py", textwrap.dedent("""
        import json, sys, time
        def say(**reply):
            print(json.dumps({"id": request["id"], **reply}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            inputs = request.get("inputs")
            if request["operation"] == "hello":
                say(operations=["q_step"])
                continue
        """) + textwrap.indent(textwrap.dedent(body), "    "))


RIGHT = """
    x, beta, t = (inputs[name] for name in ("x_prev", "betas", "t"))
    var = [beta["data"][i - 1] for i in t["data"]]
    D = x["shape"][1]
    mean = [(1 - var[i // D]) ** 0.5 * v for i, v in enumerate(x["data"])]
    say(outputs={"mean": {**x, "data": mean}, "var": {**beta, "shape": t["shape"], "data": var}})
"""


def test_a_program_that_is_right(tmp_path, capsys):
    assert main(["run", "--command", program(tmp_path, RIGHT)]) == 0
    assert "1 pass, 0 FAIL" in capsys.readouterr().out


@pytest.mark.parametrize("body, told", [
    ("time.sleep(60)", "no answer to q_step within"),
    ("sys.exit(3)", "with exit status 3"),
    ("print('rubbish', flush=True)", "is no JSON: rubbish"),
    ("request['id'] += 1; say(outputs={})", "expected the answer with id 1"),
    ("print('[' * 100000, flush=True)", "is no JSON"),
    ("say(error='I have no table')", "the program says: I have no table"),
    ("say(outputs=5)", "must return 2 outputs"), ("say()", "must return 2 outputs"),
    ("say(outputs={'mean': {'dtype': 'float64', 'shape': [3], 'data': [1]}, 'var': 1})", "needs 3 numbers in data"),
    ("say(outputs={'mean': {'dtype': 'float16', 'shape': [], 'data': []}, 'var': 1})", "dtype must be one of"),
    ("say(outputs={'mean': {'dtype': 'float64', 'shape': [1], 'data': ['many']}, 'var': 1})", "got 'many'"),
    ("say(outputs={'mean': 'x' * 10**6, 'var': 1})", "must hold real numbers"),
])
def test_programs_that_misbehave(tmp_path, capsys, body, told):
    assert main(["run", "--command", program(tmp_path, body), "--timeout", "3"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert told in out and "case 0" in out and "q_step" in out


def test_a_program_that_died_is_started_anew_for_the_next_operation(tmp_path, capsys):
    command = program(tmp_path, """
        if request["operation"] == "q_marginal":
            sys.exit(5)
        """ + textwrap.indent(textwrap.dedent(RIGHT), 8 * " ").lstrip().replace("\n    x", "\nx"))
    path = tmp_path / "p.py"
    path.write_text(path.read_text().replace('["q_step"]', '["q_step", "q_marginal", "mlp", "q_stp"]')
                    .replace('"q_marginal":', '"q_marginal" or request["operation"] == "mlp":'))
    assert main(["run", "--command", command, "--only", "q_*", "--only", "mlp"]) == 1
    out, err = capsys.readouterr()
    assert "1 pass, 0 FAIL, 2 error" in out and out.count("with exit status 5") == 2
    assert "warning: q_stp is no operation" in err


@settings(max_examples=30)
@given(st.data())
def test_no_line_of_a_program_crashes_the_kit(data):
    """What it may say, without starting one each time."""
    said = st.one_of(st.text(max_size=8), st.recursive(
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3)), lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
                ["id", "outputs", "error", "mean", "var", "dtype", "shape", "data"]), inner, max_size=4)),
        max_leaves=8).map(json.dumps))
    reply = data.draw(said)
    class Fake(Program):
        def __init__(self):
            self.command, self.timeout, self.asked, self.starts, self.dtype = "", 1.0, 0, 9, np.dtype(float)
            self.operations, self.lines = {"q_step"}, queue.Queue()
            self.process = types.SimpleNamespace(stdin=io.StringIO(), poll=lambda: None)
            self.lines.put(reply.replace("\n", " "))
    (verdict,) = check(Fake(), only=["q_step"]).verdicts
    assert verdict.status in (FAIL, ERROR) and "case 0" in verdict.why


@settings(max_examples=30)
@given(st.recursive(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
                        ["q_step", "prior_kl", "kl", "mean", "var", "dtype", "shape", "data"]), inner, max_size=4)),
                    max_leaves=8))
def test_no_file_of_answers_crashes_verify(tmp_path_factory, answers):
    file = tmp_path_factory.mktemp("a") / "answers.json"
    file.write_text(json.dumps(answers))
    assert main(["verify", str(vectors.SHIPPED), str(file)]) in (1, 2)


@pytest.mark.parametrize("command", ["no-such-program-here", f"{sys.executable} -c 1", "'unbalanced"])
def test_programs_that_do_not_start(command, capsys):
    assert main(["run", "--command", command]) == 2
    assert capsys.readouterr().err


def test_hello_is_checked(tmp_path):
    for reply in ({"operations": 3}, {"operations": ["q_step"], "dtype": "int8"}, {}):
        path = write(tmp_path / "p.py", f"""
            import json
            input()
            print(json.dumps({{"id": 0, **{reply!r}}}), flush=True)
        """)
        with pytest.raises(ValueError, match="hello"):
            Program(f"{sys.executable} {path}")


# ---------------------------------------------------------------- arrays as JSON, vectors


@given(st.lists(st.floats(width=64), max_size=6), st.sampled_from(["float64", "float32"]))
def test_arrays_come_back_to_the_bit(numbers, dtype):
    with np.errstate(over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.array(numbers, dtype)
    back = wire.loads(wire.dumps({"x": x, "word": "tanh", "n": 3}))
    assert back["x"].dtype == x.dtype and back["word"] == "tanh" and back["n"] == 3
    nan = np.isnan(x)
    assert np.array_equal(np.isnan(back["x"]), nan) and np.array_equal(
        back["x"][~nan].view(np.uint8), x[~nan].view(np.uint8))
    assert wire.loads(wire.dumps(np.arange(6).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert "0.1," in wire.dumps(np.array([0.1, 0], np.float32))  # shortest of its own dtype


def test_shipped_vectors_are_the_references_to_the_last_digit(tmp_path):
    """Outputs anew from the files' inputs; the last digit where the platform has extended precision."""
    shipped = vectors.read(vectors.SHIPPED)
    assert list(shipped) == list(OPERATIONS)
    for name, cases in shipped.items():
        for drawn, case in zip(OPERATIONS[name].fixed_cases(), cases, strict=True):
            for key, x in case.inputs.items():  # up to the last bits of a matrix product
                assert isinstance(x, str) and x == drawn[key] or np.allclose(x, drawn[key], rtol=1e-12, atol=1e-14), key
            anew = OPERATIONS[name].answer(case.inputs)
            for key, y in case.outputs.items():
                if EXTENDED:
                    np.testing.assert_array_equal(np.asarray(anew[key], np.float64), y, err_msg=f"{name} {key}")
                else:
                    assert np.all(np.abs(np.asarray(anew[key], np.float64) - y) <= case.tolerances[key])
    size = sum(file.stat().st_size for file in vectors.SHIPPED.iterdir())
    assert size < 800_000


def test_vectors_say_what_they_separate_and_verify_judges(tmp_path, capsys):
    assert main(["vectors", str(tmp_path / "v")]) == 0
    document = json.loads((tmp_path / "v" / "q_step.json").read_text(encoding="utf-8"))
    assert document["flags"]["m0"] == "the second output is a standard deviation"
    assert all(case["flags"] == list(document["flags"]) for case in document["cases"])
    assert document["number_of_cases"] == len(document["cases"]) == 3
    answers = {name: [{key: wire.encode(y) for key, y in case.outputs.items()} for case in cases]
               for name, cases in vectors.read(tmp_path / "v").items() if name.startswith("q_")}
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers))
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 0
    for case in answers["q_step"]:
        case["var"]["data"] = [v**0.5 for v in case["var"]["data"]]
    answers["q_marginal"].pop()
    file.write_text(json.dumps(answers))
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 1
    out = capsys.readouterr().out
    assert "the second output is a standard deviation" in out and "an answer to each case" in out
    for bad in ("[]", "{", '{"nothing": []}'):
        file.write_text(bad)
        assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    file.write_text("{}")
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    with (tmp_path / "v" / "q_step.json").open("a") as changed:
        changed.write(" ")
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    assert "is not the file that SHA256SUMS describes" in capsys.readouterr().err


def test_every_shipped_file_is_as_the_schema_says():
    """The schema's own words, read by hand: no validator is needed for so few of them."""
    schema = json.loads((vectors.SHIPPED / "schema.json").read_text())

    def holds(x, rule):
        rule = schema["$defs"][rule["$ref"].split("/")[-1]] if "$ref" in rule else rule
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
        if "oneOf" in rule:
            return sum(holds(x, one) for one in rule["oneOf"]) == 1
        if "enum" in rule or "const" in rule:
            return x in rule.get("enum", [rule.get("const")])
        if not isinstance(x, kinds[rule["type"]]):
            return False
        if isinstance(x, list):
            return all(holds(y, rule["items"]) for y in x)
        if isinstance(x, dict):
            own, rest = rule.get("properties", {}), rule.get("additionalProperties", {})
            return set(rule.get("required", ())) <= set(x) and all(
                holds(y, own[key]) if key in own else bool(rest) and holds(y, rest) for key, y in x.items())
        return True
    files = [file for file in vectors.SHIPPED.glob("*.json") if file.name != "schema.json"]
    assert {file.stem for file in files} == set(OPERATIONS)
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        assert holds(document, schema), file
        for case in document["cases"]:
            y, tolerance = ([v for x in case[key].values() for v in x["data"]] for key in ("outputs", "tolerances"))
            largest = max(b / abs(a) for a, b in zip(y, tolerance) if a != 0) / 2**-52
            assert abs(case["condition"] / largest - 1) < 0.02 and all(b > 0 for b in tolerance)
        document["cases"][0]["outputs"][next(iter(document["outputs"]))].pop("dtype")
        assert not holds(document, schema)


# ---------------------------------------------------------------- the examples in other languages


def test_the_adapter_in_plain_python(capsys):
    assert main(["run", "--command", f"{sys.executable} {ADAPTERS / 'plain_python.py'}"]) == 0
    assert "2 pass" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_adapter_in_c(tmp_path, capsys):
    program = tmp_path / "q_marginal"
    made = subprocess.run(["cc", "-Wall", "-o", program, ADAPTERS / "q_marginal.c", "-lm"],
                          capture_output=True, text=True, check=False)
    assert made.returncode == 0 and made.stderr == ""
    assert main(["run", "--command", str(program)]) == 0
    assert "1 pass" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript")
def test_the_adapter_in_javascript(capsys):
    assert main(["run", "--command", f"node {ADAPTERS / 'q_marginal.js'}"]) == 0
    assert "2 pass" in capsys.readouterr().out
