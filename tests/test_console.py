"""The commands print their letters whatever the code page, and end quietly when nobody reads on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def begun(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}  # as a pipe is on Windows
    return subprocess.Popen([sys.executable, "-m", *arguments], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


@pytest.mark.parametrize("command", [("refvdm.lecture", "--errata"), ("refvdm.conformance", "list")])
def test_every_letter_arrives(command):
    out, err = begun(*command).communicate(timeout=60)
    assert "√" in out.decode("utf-8") and err == b""


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")
def test_a_pipe_that_is_closed_is_no_error():
    process = begun("refvdm.lecture")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 141)
    process.stderr.close()
