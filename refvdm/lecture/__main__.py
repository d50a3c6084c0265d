"""python -m refvdm.lecture: every equation measured. See -h."""
from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import math
import sys
import textwrap
from typing import Any

from ..console import run
from .equation import SECTIONS, Equation, equations
from .measure import Result, results

WIDTH = 100


def main(argv: list[str] | None = None) -> int:
    """0: every residual is within its tolerance. 1: one is not. 2: a wrong argument."""
    parser = argparse.ArgumentParser(
        prog="python -m refvdm.lecture", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The lecture as code, measured: each equation's function (the spec) on random\n"
                    "inputs, beside the same in the rest of refvdm (the machine), beside a closed\n"
                    "form where there is one, and beside what the lecture prints where that is\n"
                    "wrong. Exit status: 0 all residuals are within their tolerances, 1 not.")
    parser.add_argument("--equation", metavar="13.25", help="this one, with the code of both")
    parser.add_argument("--errata", action="store_true", help="the misprints as a Markdown table")
    parser.add_argument("--html", metavar="FILE", help="write the page that shows it all")
    parser.add_argument("--json", action="store_true", help="the results for a machine")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        parser.error(f"--seed must be at least 0, got {arguments.seed}")
    if arguments.errata:
        print(errata())
        return 0
    if arguments.html is not None:
        return _write_page(arguments.html, arguments.seed)
    found = results(arguments.seed, arguments.equation)
    if not found:
        parser.error(f"no equation is numbered {arguments.equation!r}; 13.1 to 13.29 are here")
    if arguments.json:
        print(json.dumps([_plain(result) for result in found], ensure_ascii=False, indent=1))
    elif arguments.equation is not None:
        print("\n\n".join(whole(result) for result in found))
    else:
        print(table(found))
    return 0 if all(result.ok for result in found) else 1


def table(found: list[Result]) -> str:
    """All of them, a block each, by section."""
    titles, lines, before = dict(SECTIONS), [], ""
    for result in found:
        if result.section != before:
            before = result.section
            lines += ["", f"{before} {titles[before]}", ""]
        lines += [short(result), ""]
    wrong = sum(not result.ok for result in found)
    misprints = sum(result.printed_residual is not None for result in found)
    lines.append(f"{len(found)} measured, {wrong} over tolerance; {misprints} misprints computed "
                 f"beside their corrections. Residuals are relative: max |a - b|/max(1, max |b|).")
    return "\n".join(lines[:-1] + textwrap.wrap(lines[-1], WIDTH)).strip("\n")


def short(result: Result) -> str:
    """One equation: its statement, who computes it, and how far they are apart."""
    lines = _wrapped(f"{result.number}  ", result.statement)
    lines.append(f"    spec     {result.spec}")
    if result.machine:
        lines.append(f"    machine  {result.machine}")
    sides = "between its sides" if result.kind == "identity" else "from the machine"
    if result.kind == "identity" and result.machine:
        sides += " and from the machine"
    measured = [f"{size:.1e} {words}" for size, words in (
        (result.residual, sides), (result.closed_form, "from a closed form")) if size is not None]
    verdict = "ok" if result.ok else "OVER TOLERANCE"
    lines += _wrapped(f"    {verdict:8s} ",
                      f"{', '.join(measured)}; allowed {result.tolerance:.0e}")
    if result.printed:
        lines += _wrapped("    printed  ", result.printed)
    if result.printed_residual is not None:
        lines.append(f"             off by {result.printed_residual:.1e}")
    return "\n".join(lines)


def whole(result: Result) -> str:
    """The same with the code of both."""
    equation = next(e for e in equations() if e.number == result.number)
    parts = [short(result), "", "--- the spec", inspect.getsource(equation.function).rstrip()]
    if equation.machine:
        parts += ["", f"--- the machine: {equation.machine}", machine_source(equation).rstrip()]
    return "\n".join(parts)


def machine_source(equation: Equation) -> str:
    """The code behind the dotted name of the machine's function or class."""
    names = str(equation.machine).split(".")
    for n in range(len(names), 0, -1):  # the longest part that is a module
        try:
            there: Any = importlib.import_module(".".join(names[:n]))
            break
        except ModuleNotFoundError:
            continue
    for name in names[n:]:
        there = getattr(there, name)
    code = textwrap.dedent(inspect.getsource(inspect.unwrap(there)))
    if inspect.isclass(there) and there.__doc__:  # its first lines say what it is
        (definition,) = ast.parse(code).body
        assert isinstance(definition, ast.ClassDef)
        code = "\n".join([*code.splitlines()[: definition.body[0].end_lineno], "    ..."])
    return code


ERRATA = """\
# What the lecture prints, and what it must be

Printed by `python -m refvdm.lecture --errata`. `python -m refvdm.lecture` computes each misprint
beside its correction; the tests `test_errata_*.py` show each failing a check that its correction
passes, where there is a number to check.
"""


def errata() -> str:
    """The misprints of the lecture, as ERRATA.md has them."""
    rows = [ERRATA, "| Equation | The lecture prints | It must be |", "|---|---|---|"]
    rows += [f"| {e.number} | {_cell(e.printed)} | {_cell(e.statement)} |"
             for e in equations() if e.printed]
    return "\n".join(rows)


def _cell(text: str | None) -> str:
    return str(text).replace("|", "\\|").replace("*", "\\*")


def _wrapped(first: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, break_long_words=False,
                         subsequent_indent=" " * (13 if first.startswith(" ") else 4))


def _plain(result: Result) -> dict[str, Any]:
    """As JSON has it: no inf."""
    return {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in result._asdict().items()}


def _write_page(path: str, seed: int) -> int:
    from . import page  # what it needs is not small
    try:
        page.write(path, seed)
    except OSError as error:
        print(f"refvdm.lecture: {path}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    run(main)
