"""One run at a time: a lock that the operating system holds, and lets go when its holder dies.

So a run that was killed leaves nothing behind that has to be cleared away by hand, as a file with a
process number would. The lock file says who holds it; its presence alone means nothing.
"""
from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .checkpoint import CheckpointError

fcntl: Any
msvcrt: Any
try:
    import fcntl
except ImportError:
    fcntl = None
    import msvcrt

FAR = 1 << 30
_held: set[int] = set()  # descriptors of this process's locks


class InUse(CheckpointError):
    """Another run holds the folder or the checkpoint; the message says which, and since when."""


@contextmanager
def exclusive(path: str | os.PathLike, held: str | os.PathLike) -> Iterator[None]:
    """Hold the lock file `path`, which stands for `held`, until the block ends or the process dies.

    InUse, naming `held` and its holder, when anyone else holds it, in this process or another.
    """
    file = _acquired(Path(path), held)
    try:
        yield
    finally:
        _held.discard(file)
        _remove(Path(path), file)


def _acquired(path: Path, held: str | os.PathLike) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_lock(file):
                raise InUse(f"{held} is in use by {_holder(file)}; wait until it has ended, "
                            f"or use another place")
            if _is_still(path, file):
                me = {"pid": os.getpid(), "host": socket.gethostname(),
                      "since": time.strftime("%Y-%m-%d %H:%M:%S")}
                os.ftruncate(file, 0)
                os.write(file, json.dumps(me).encode())
                _held.add(file)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder removed it between our opening and locking it: try anew


def _try_lock(file: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _windows(file, msvcrt.LK_NBLCK)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _windows(file: int, mode: int) -> None:
    """Lock or unlock one byte far behind the text: nobody else can read a byte that is locked."""
    os.lseek(file, FAR, os.SEEK_SET)
    try:
        msvcrt.locking(file, mode, 1)
    finally:
        os.lseek(file, 0, os.SEEK_SET)


def _is_still(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.read(file, 1000))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError, OSError):  # it has the lock and has not written yet
        return "another run that has just begun"


def _remove(path: Path, file: int) -> None:
    if fcntl is not None:  # while it is held, so that nobody's lock but our own is removed
        with suppress(OSError):
            if _is_still(path, file):
                path.unlink()
        os.close(file)
    else:  # Windows does not remove an open file, nor the one that the next holder has opened
        _windows(file, msvcrt.LK_UNLCK)
        os.close(file)
        with suppress(OSError):
            path.unlink()


def _let_go_in_child() -> None:
    """A forked worker inherits the descriptor, and would hold the lock after the run has died."""
    for file in _held:
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
