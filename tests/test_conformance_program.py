"""Programs as adapters: that are right, that misbehave, in other languages."""
import io
import json
import queue
import shutil
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
from conformance_adapters import ADAPTERS, write
from hypothesis import given, settings
from hypothesis import strategies as st

from refvdm.conformance import check
from refvdm.conformance.__main__ import main
from refvdm.conformance.judge import ERROR, FAIL
from refvdm.conformance.program import Program


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
