"""The lock: one holder at a time, named to the second, and none when it has died."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refvdm import lock
from refvdm.lock import InUse, exclusive

HOLDER = """
import os, sys, time
sys.path[:0] = sys.argv[2:]
from refvdm.lock import exclusive
with exclusive(sys.argv[1], "the folder"):
    if os.name != "nt" and os.fork() == 0:  # a worker that outlives the run
        time.sleep(20)
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_holds_it_and_the_lock_file_goes(tmp_path):
    with exclusive(tmp_path / "l", "the folder"):
        match = rf"the folder is in use by process {os.getpid()} on \S+ since 20\d\d-"
        with pytest.raises(InUse, match=match), exclusive(tmp_path / "l", "the folder"):
            raise AssertionError
        mask = os.umask(0)
        os.umask(mask)
        assert sys.platform == "win32" or (tmp_path / "l").stat().st_mode & 0o777 == 0o666 & ~mask
    assert not os.listdir(tmp_path) and not lock._held
    with pytest.raises(KeyError), exclusive(tmp_path / "l", "x"):
        raise KeyError
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_holder_holds_nothing_even_if_its_forked_worker_lives(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "l"), str(Path(__file__).parent.parent)],
                               stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "held\n"
    try:
        with pytest.raises(InUse, match=f"process {process.pid} on"), exclusive(tmp_path / "l", "the folder"):
            raise AssertionError
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "l").exists()  # its presence means nothing
        with exclusive(tmp_path / "l", "the folder"):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_a_file_removed_between_opening_and_locking_is_tried_anew(tmp_path, monkeypatch):
    real, path = lock._try_lock, tmp_path / "l"

    def removed_once(file):
        monkeypatch.setattr(lock, "_try_lock", real)
        path.unlink()
        return real(file)

    monkeypatch.setattr(lock, "_try_lock", removed_once)
    with exclusive(path, "x"), pytest.raises(InUse), exclusive(path, "x"):
        raise AssertionError


def test_a_holder_that_has_not_yet_written_is_another_run(tmp_path, monkeypatch):
    with exclusive(tmp_path / "l", "x"):
        for text in ("", "[]", "{}", '{"pid": 1, "host": "h"}'):
            (tmp_path / "l").write_text(text)
            with pytest.raises(InUse, match="another run that has just begun"), exclusive(tmp_path / "l", "x"):
                raise AssertionError


def test_what_a_dead_holder_wrote_is_gone_when_the_next_one_writes(tmp_path):
    (tmp_path / "l").write_text("x" * 500)
    with exclusive(tmp_path / "l", "x"):
        assert json.loads((tmp_path / "l").read_text()).keys() == {"pid", "host", "since"}


class Msvcrt:
    """Windows's byte locks: the byte at the descriptor's position, refused with EACCES when another has it."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        self.locked = {}

    def locking(self, file, mode, nbytes):
        where = (os.fstat(file).st_ino, os.lseek(file, 0, os.SEEK_CUR), nbytes)
        if mode == self.LK_UNLCK:
            assert self.locked.pop(where) == file
        elif where in self.locked:
            raise PermissionError(13, "Permission denied")
        else:
            self.locked[where] = file


def test_the_way_of_windows(tmp_path, monkeypatch):
    fake = Msvcrt()
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", fake, raising=False)
    with exclusive(tmp_path / "l", "the folder"):
        ((_, at, nbytes),) = fake.locked
        assert json.loads((tmp_path / "l").read_bytes())["pid"] == os.getpid()  # written from its beginning
        assert at > 1000 and nbytes == 1  # behind the text, which others must read
        with pytest.raises(InUse, match=f"in use by process {os.getpid()} on"), exclusive(tmp_path / "l", "the folder"):
            raise AssertionError
    assert not fake.locked and not os.listdir(tmp_path)
