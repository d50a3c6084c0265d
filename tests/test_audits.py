"""The audit's table is of the adapters that run.py knows, and says nothing without a size."""

import re
from pathlib import Path

AUDITS = Path(__file__).parent.parent / "examples" / "audits"


def test_findings_are_of_the_known_adapters():
    known = re.search(r"ADAPTERS = \((.*?)\)", (AUDITS / "run.py").read_text(encoding="utf-8"), re.DOTALL)
    adapters = re.findall(r'"(\w+)"', known.group(1))
    assert all((AUDITS / f"{name}.py").exists() for name in adapters)
    table = (AUDITS / "FINDINGS.md").read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table if line.startswith("| ") and "library |" not in line]
    assert {row[1].strip() for row in rows} == set(adapters)
    for row in rows:
        assert len(row) == 5 and re.match(r" \w+ \d", row[0]) and re.match(r"agrees|differs|refused", row[3].strip())


def test_adapters_are_short():
    for file in AUDITS.glob("*.py"):
        if file.name != "run.py":
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file.name
