"""python -m refvdm.conformance: list, new, run, and what it prints."""
import json
import os
import subprocess
import sys

import numpy as np
from conformance_adapters import ROOT, write

from refvdm.conformance import OPERATIONS
from refvdm.conformance.__main__ import main
from refvdm.conformance.judge import ERROR, MISSING


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
