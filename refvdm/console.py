"""How `python -m refvdm.lecture` and `python -m refvdm.conformance` print and end."""
from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that main() returns.

    What is printed has ᾱ, √ and ‖ in it: in a file or a pipe it is UTF-8 whatever the system's code
    page is, and a terminal that lacks a letter shows a question mark. A reader that closes its pipe
    (`| head`) ends the program quietly, with the status 141 that a shell gives it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
