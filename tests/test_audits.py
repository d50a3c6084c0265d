"""The audit's adapters are short, its findings complete: each with a verdict, a third derivation and its lines."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

AUDITS = Path(__file__).parent.parent / "examples" / "audits"
VERDICTS = {"another convention", "approximation", "numerically poor", "wrong", "refused"}
FILES = sorted((AUDITS / "reproducers").glob("*.py"))


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("audits_run", AUDITS / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["audits_run"] = module
    spec.loader.exec_module(module)
    return module


def test_findings_have_a_verdict_a_third_derivation_and_few_lines(run):
    for file in FILES:
        finding = run.read_finding(file)
        ast.parse(finding.code)
        assert finding.verdict in VERDICTS and finding.adapter in run.ADAPTERS and finding.about
        assert len(finding.third) > 10 and len(finding.code.splitlines()) <= 25, file.name


def test_the_table_is_of_the_known_adapters_and_verdicts(run):
    text = (AUDITS / "FINDINGS.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")][1:]
    assert all((AUDITS / f"{name}.py").exists() for name in run.ADAPTERS)
    assert {row[1].strip() for row in rows} <= set(run.ADAPTERS) and len({row[0].split()[0] for row in rows}) >= 12
    for row in rows:
        assert len(row) == 5 and re.match(r" [\w-]+ \d", row[0])
        assert row[3].strip() == "agrees" or row[3].strip().split(":")[0] in VERDICTS, row[3]
    titles = {run.read_finding(file).title for file in FILES}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= titles


def test_rows_of_one_verdict_are_told_together_and_others_by_their_finding(run):
    verdict = type("V", (), {"status": "pass", "worst": 0.5, "why": "", "name": "order"})
    bad = type("V", (verdict,), {"status": "FAIL", "worst": 7.0, "why": "measured 1"})
    finding = run.Finding("It has order 1.", "made", ["rk4: *"], "wrong", "by hand", "", None)
    found = [("made", "lib 1", "euler: order", verdict), ("made", "lib 1", "heun: order", verdict),
             ("made", "lib 1", "rk4: order", bad), ("made", "lib 1", "ab: order", bad)]
    assert run.table(found, [finding])[2:] == [
        "| lib 1 | made | euler; heun (2 checks) | agrees | 0.5 |",
        "| lib 1 | made | rk4 (1 check) | wrong: It has order 1. | 7 |",
        "| lib 1 | made | ab (1 check) | not judged: measured 1 | 7 |"]
    assert run.judged("other", "rk4: order", bad, [finding]) is None


def test_adapters_are_short():
    for file in AUDITS.glob("*.py"):
        if file.name != "run.py":
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file.name
