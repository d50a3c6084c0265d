"""The README: short enough to be read, every Python block runs, every file and module it names is there."""

import re
from pathlib import Path

import pytest

import refvdm

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_its_length():
    assert len(TEXT.splitlines()) <= 200
    assert max(len(line) for line in TEXT.splitlines() if not line.startswith("|")) <= 145  # but for tables


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102  that is the point
    assert "nan" not in capsys.readouterr().out


def test_what_it_names_is_there():
    for name in re.findall(r"`((?:refvdm|examples|tests|\.github)/[\w./]+)`", TEXT):
        home = Path(refvdm.__file__).parent.parent if name.startswith("refvdm/") else ROOT  # maybe installed
        assert (home / name).exists(), name
    for name in re.findall(r"`(\w+\.py)", TEXT):
        there = [*ROOT.glob(f"**/{name}"), *Path(refvdm.__file__).parent.glob(f"**/{name}")]
        assert there or name == "my_adapter.py", name


def test_what_it_says_of_the_conformance_kit_is_so():
    from refvdm.conformance import OPERATIONS
    said = re.search(r"(\d+) operations \(`list`\), (\d+) usual mistakes", TEXT)
    assert [int(n) for n in said.groups()] == [len(OPERATIONS), sum(len(o.mistakes) for o in OPERATIONS.values())]
