"""`python -m refvdm.lecture`: every equation is measured, and what it prints is what it found."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import refvdm
from refvdm.lecture import PRINTED, equations
from refvdm.lecture import __main__ as command
from refvdm.lecture.measure import MEASURES, distance, matches, results
from refvdm.lecture.measure import core as measure

ROOT = Path(__file__).parent.parent
NUMBERED = [f"13.{n}" for n in range(1, 30)]
measured = functools.cache(results)  # all of them take a second


def test_every_equation_has_a_measure_and_every_number_is_there():
    registered = [equation.number for equation in equations()]
    assert sorted(MEASURES) == sorted(registered) and len(set(registered)) == len(registered)
    for number in NUMBERED:
        assert any(matches(name, number) for name in registered), number


@pytest.mark.parametrize("seed", [1, 2, 3])  # 0: the table
def test_all_are_within_their_tolerances_on_any_inputs(seed):
    found = measured(seed)
    assert [result.number for result in found if not result.ok] == []
    for result, equation in zip(found, equations()):
        assert result.residual is not None or result.closed_form is not None
        assert (result.residual is not None) >= (equation.kind == "identity" or equation.machine is not None)
        assert (result.printed_residual is not None) == (
            equation.number in PRINTED), result.number


def test_13_28_one_equation_at_a_time_and_the_same_numbers():
    whole = {result.number: result for result in measured(3)}
    for number in ("13.28", "13.2", "13.17 gradient"):
        for result in results(3, number):
            assert result == whole[result.number] and result.number.startswith(number)
    assert [result.number for result in results(0, "13.2")] == ["13.2"]
    assert [result.number for result in results(0, "13.4.2")] == [f"§13.4.2 restriction {i}" for i in (1, 2, 3)]
    assert results(0, "13.99") == []


def test_distance():
    assert distance([1.0, [2.0, np.zeros(2)]], [1.0, [2.5, np.zeros(2)]]) == 0.2
    assert distance(0.25, 0.0) == 0.25 and distance(np.ones(2), np.ones(3)) == np.inf
    assert distance(np.nan, 1.0) == np.inf


@pytest.mark.parametrize("number", ["13.28", "13.15 line 1", "13.1 layer"])
def test_a_wrong_spec_or_machine_is_over_tolerance(number, monkeypatch, capsys):
    tolerance, function = MEASURES[number]
    monkeypatch.setitem(MEASURES, number, (tolerance, lambda rng: bent(function(rng))))
    assert command.main(["--equation", number]) == 1
    assert "OVER TOLERANCE" in capsys.readouterr().out


def bent(measured):
    moved = [np.asarray(x) * (1 + 1e-6) + 1e-6 for x in measure._flat(measured.spec)]
    return measured._replace(spec=moved)


def test_a_misprint_that_is_none_is_told(monkeypatch):
    tolerance, function = MEASURES["13.28"]
    found = function(np.random.default_rng(0))
    monkeypatch.setitem(MEASURES, "13.28", (tolerance, lambda rng: found._replace(printed=found.spec)))
    assert not next(result for result in results(0, "13.28") if result.number == "13.28").ok


def test_the_table_fits_100_columns_and_names_everything(capsys):
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for equation in equations():
        assert re.search(rf"^{re.escape(equation.number)}  ", out, re.MULTILINE) and (equation.machine or "") in out
    assert out.count("off by") == len(PRINTED) and "0 over tolerance" in out


def test_one_equation_with_the_code_of_both(capsys):
    assert command.main(["--equation", "13.25"]) == 0
    out = capsys.readouterr().out
    assert "def q_posterior(x_t, x_0, alpha, t):" in out and "--- the machine: refvdm.vdm.q_posterior" in out
    assert command.main(["--equation", "13.28 p_θ"]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 45  # of a class, the first lines


def test_json(capsys, monkeypatch):
    monkeypatch.setattr(command, "results", lambda seed, only: measured(seed) if only is None else [])
    assert command.main(["--json", "--seed", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["number"] for row in rows] == [equation.number for equation in equations()]
    assert all(row["ok"] for row in rows)


@pytest.mark.parametrize("wrong", [["--equation", "14.1"], ["--seed", "-1"], ["--seed", "x"]])
def test_wrong_arguments(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(wrong)
    assert stopped.value.code == 2 and capsys.readouterr().err


def test_the_errata_are_the_commands(capsys):
    assert command.main(["--errata"]) == 0
    printed = capsys.readouterr().out
    assert printed == (Path(refvdm.__file__).parent / "lecture" / "ERRATA.md").read_text(encoding="utf-8")
    rows = printed.splitlines()
    assert sum(row.startswith("| ") for row in rows) - 1 == sum(e.printed is not None for e in equations())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    some = readme.split("<!-- errata -->\n")[1].split("<!-- end of errata -->")[0].splitlines()
    assert len(some) > 6 and set(some) <= set(rows)
