"""python -m refvdm.conformance: see -h."""
from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from pathlib import Path

from ..console import run
from . import vectors
from .adapter import WrongAnswer, load
from .adapter import __doc__ as adapter_help
from .listing import CONVENTIONS, described
from .operation import REGISTER
from .program import Program
from .program import __doc__ as program_help
from .report import check
from .template import template
from .wire import __doc__ as wire_help


def main(argv: list[str] | None = None) -> int:
    """0: all that is implemented agrees. 1: something does not. 2: nothing could be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m refvdm.conformance", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Is my implementation right? Compares it, operation by operation, with the\n"
                    "reference, and says which convention or mistake explains a difference.\n"
                    "Exit status: 0 all that is implemented agrees, 1 something does not,\n"
                    "2 nothing could be compared.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the operations: inputs, outputs, conventions")
    listing.add_argument("names", nargs="*", help="only these")
    listing.add_argument("--mistakes", action="store_true", help="and the mistakes that are known")
    new = commands.add_parser("new", help="write a commented adapter to fill in")
    new.add_argument("path", metavar="MY_ADAPTER.py")
    run = commands.add_parser("run", help="compare an adapter with the reference",
                              formatter_class=argparse.RawDescriptionHelpFormatter,
                              description=f"{adapter_help}\n{program_help}\n{wire_help}")
    run.add_argument("adapter", nargs="?", metavar="MY_ADAPTER.py")
    run.add_argument("--command", dest="program", metavar="PROGRAM",
                     help="a program that speaks JSON lines, as above")
    run.add_argument("--timeout", type=float, default=60.0, help="seconds a program may think")
    for option, what in (("--only", "run these alone"), ("--skip", "leave these out"),
                         ("--expect-fail", "these are known to fail; passing is then a failure")):
        run.add_argument(option, action="append", default=[], metavar="PATTERN",
                         help=f"{what}; like the shell's, may be repeated")
    run.add_argument("--json", action="store_true", help="the report for a machine")
    write = commands.add_parser("vectors", help="write cases and answers as JSON files",
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                description=vectors.__doc__)
    write.add_argument("directory", metavar="DIR")
    verify = commands.add_parser("verify", help="judge answers that were computed elsewhere")
    verify.add_argument("directory", metavar="DIR", help="what `vectors` wrote")
    verify.add_argument("answers", metavar="answers.json")
    verify.add_argument("--json", action="store_true", help="the report for a machine")
    arguments = parser.parse_args(argv)
    commands_by_name = {"list": _list, "new": _new, "run": _run, "vectors": _vectors,
                        "verify": _verify}
    return commands_by_name[arguments.command](arguments)


def _list(arguments: argparse.Namespace) -> int:
    unknown = [name for name in arguments.names if name not in REGISTER]
    if unknown:
        return _complain(f"no operation is called {', '.join(unknown)}")
    if not arguments.names:
        print(CONVENTIONS)
    for name in arguments.names or REGISTER:
        print("\n".join(described(REGISTER[name], arguments.mistakes)), end="\n\n")
    return 0


def _new(arguments: argparse.Namespace) -> int:
    path = Path(arguments.path)
    try:
        with path.open("x", encoding="utf-8") as file:  # never over what is there
            file.write(template(path.name))
    except FileExistsError:
        return _complain(f"{path} exists and was left as it is; give another name")
    except OSError as error:
        return _complain(f"{path}: {error.strerror}")
    print(f"wrote {path}: fill it in, then python -m refvdm.conformance run {path}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    if (arguments.adapter is None) == (arguments.program is None):
        return _complain("give either an adapter file or --command")
    with contextlib.redirect_stdout(sys.stderr):  # what an adapter prints is not the report
        try:
            adapter = (load(arguments.adapter) if arguments.program is None
                       else Program(arguments.program, arguments.timeout))
        except (WrongAnswer, OSError) as error:
            return _complain(str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever somebody's file does
            return _complain(f"{arguments.adapter}: {type(error).__name__}: {error}")
    for told in adapter.misspelt():
        print(f"warning: {told}", file=sys.stderr)
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always", UserWarning)
        report = check(adapter, only=arguments.only or ("*",), skip=arguments.skip,
                       expect_fail=arguments.expect_fail)
    for warning in caught:
        if warning.category is UserWarning:
            print(f"warning: {warning.message}", file=sys.stderr)
    if isinstance(adapter, Program):
        adapter.close()
    print(report.json(adapter=arguments.adapter or arguments.program, dtype=str(adapter.dtype))
          if arguments.json else report.table())
    return report.status


def _vectors(arguments: argparse.Namespace) -> int:
    try:
        files = vectors.write(arguments.directory)
    except OSError as error:
        return _complain(f"{arguments.directory}: {error.strerror}")
    print(f"wrote {len(files) - 1} operations and their schema to {arguments.directory}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    try:
        adapter, truths = vectors.Answers(arguments.answers), vectors.read(arguments.directory)
    except (WrongAnswer, ValueError, KeyError, OSError) as error:
        return _complain(str(error))
    report = check(adapter, truths=truths, only=tuple(truths))
    print(report.json(answers=arguments.answers) if arguments.json else report.table())
    return report.status


def _complain(message: str) -> int:
    print(f"refvdm.conformance: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    run(main)
