"""The command line of an experiment: its options, and what is said when things go wrong.

All of it is part of refvdm.experiment, which tells how it is used.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import checks
from .checkpoint import CheckpointError
from .fit import NonFiniteLoss
from .lock import InUse

QUICK_STEPS = 10

# ---------------------------------------------------------------- options


def arguments(name: str, description: str | None, steps: int | None) -> argparse.ArgumentParser:
    """A parser with --steps, --seed, --out, --quick and --fresh, to which more may be added;
    steps=None: no default of its own.

    >>> from refvdm import experiment
    >>> parser = experiment.arguments("ring", "A ring.", steps=2000)
    >>> options = parser.parse_args(["--seed", "3"])
    >>> options.steps, options.seed, options.quick
    (2000, 3, False)
    """
    checks.instance("arguments: name", name, str)
    if description is not None:
        checks.instance("arguments: description", description, str)
    if steps is not None:
        checks.integer("arguments: steps", steps)
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=at_least(1), default=steps,
                        help=f"training steps (default {steps or 'depends on the data'})")
    parser.add_argument("--seed", type=at_least(0), default=0,
                        help="of the parameters, the data and all noise (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs") / name,
                        help=f"folder of this run (default runs/{name}); one for each run")
    parser.add_argument("--quick", action="store_true",
                        help=f"does it run? {QUICK_STEPS} steps, rough measurements, all "
                             f"pictures; in runs/{name}-quick")
    parser.add_argument("--fresh", action="store_true",
                        help="start over; an earlier run in the folder is moved to old-1, old-2, "
                             "... in it")
    return parser


def options(parser: argparse.ArgumentParser,
            argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line; in a notebook, whose command line is another's, the
    parser's defaults.

    argv: the options, in place of both. When this is the program that runs, Refused and its like
    (see _told) end it from now on with one line and exit status 2, Ctrl-C with 130; every other
    error keeps its traceback.

    >>> from refvdm import experiment
    >>> parser = experiment.arguments("ring", "A ring.", steps=2000)
    >>> experiment.options(parser, ["--steps", "5"]).steps
    5
    """
    checks.instance("options: parser", parser, argparse.ArgumentParser)
    argv = None if argv is None else checks.words("options: argv", argv)
    main_file = getattr(sys.modules["__main__"], "__file__", None)
    ours = main_file is not None and Path(main_file).resolve() == Path(sys.argv[0]).resolve()
    if argv is None and ours:
        sys.excepthook = partial(_in_one_line, parser.prog)
    args = parser.parse_args(argv if argv is not None or ours else [])
    if args.quick:
        args.steps = QUICK_STEPS
        if args.out == parser.get_default("out"):
            args.out = args.out.with_name(f"{args.out.name}-quick")
    return args


def at_least(low: int) -> Callable[[str], int]:
    """The type, for argparse, of an integer of at least `low`.

    >>> from refvdm import experiment
    >>> experiment.at_least(1)("7")
    7
    """
    low = checks.integer("at_least: low", low, -10**9)

    def integer(text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            n = low - 1
        if n < low:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {low}, got {text}")
        return n
    return integer


# ---------------------------------------------------------------- what goes wrong


class Refused(ValueError):
    """What was asked for cannot be done, and who gave the command can mend it: raise it for bad
    options and bad files.

    >>> from refvdm import experiment
    >>> def main(args):
    ...     raise experiment.Refused("no such data set")
    >>> experiment.guarded("ring", main, None)  # one line on stderr
    2
    """


def call(name: str, main: Callable, parser: argparse.ArgumentParser,
         argv: Sequence[str] | None = None) -> int:
    """For a program that is a function: main(options), and the exit status, as guarded.

    >>> from refvdm import experiment
    >>> parser = experiment.arguments("ring", "A ring.", steps=2000)
    >>> experiment.call("ring", lambda options: print(options.steps), parser, ["--steps", "5"])
    5
    0
    """
    _check_main(name, main)
    return guarded(name, main, options(parser, argv))


def guarded(name: str, main: Callable, args: Any) -> int:
    """main(args); what goes wrong is one clear line on stderr. Returns the exit status.

    >>> from refvdm import experiment
    >>> experiment.guarded("ring", lambda args: print(args), "done")
    done
    0
    """
    _check_main(name, main)
    try:
        main(args)
    except (Exception, KeyboardInterrupt) as error:
        if (told := _told(error)) is None:
            raise
        print(f"{name}: {told[1]}", file=sys.stderr)
        return told[0]
    return 0


def _check_main(name: Any, main: Any) -> None:
    checks.instance("the command's name", name, str)
    checks.function("the command's main", main, "main(args)")


def _told(error: BaseException) -> tuple[int, str] | None:
    """Exit status and words for what the user can mend; None for a fault of the program."""
    if isinstance(error, InUse):
        return 2, f"{error} (--out FOLDER)"
    if isinstance(error, CheckpointError):
        return 2, f"{error} (--out FOLDER), or start over (--fresh)"
    if isinstance(error, MemoryError):
        return 2, f"not enough memory: {error}"
    if isinstance(error, (Refused, NonFiniteLoss, OSError)):
        return 2, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted; the same command goes on from here"
    return None


def _in_one_line(name: str, kind: type, error: BaseException, trace: Any) -> None:
    """A sys.excepthook: the program ends with _told's line and exit status."""
    if (told := _told(error)) is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"{name}: {told[1]}", file=sys.stderr)
    raise SystemExit(told[0])


def in_notebook() -> bool:
    """Is this IPython: a notebook, or an editor's cells?

    >>> from refvdm import experiment
    >>> experiment.in_notebook()
    False
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return shell is not None and shell() is not None
