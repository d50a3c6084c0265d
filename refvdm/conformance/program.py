"""An adapter that is a program in any language: JSON lines over its stdin and stdout.

First it is asked what it has, then case by case; it answers each request with one line:

    {"id": 0, "operation": "hello"}
        -> {"id": 0, "operations": [...], "dtype": "float64"}
    {"id": 7, "operation": "q_step", "inputs": {"x_prev": ARRAY, "betas": ARRAY, "t": ARRAY}}
        -> {"id": 7, "outputs": {"mean": ARRAY, "var": ARRAY}}     or {"id": 7, "error": "why"}

ARRAY is as in wire.py. What it writes to stderr is the user's to read.
"""
from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
from typing import Any

import numpy as np

from . import wire
from .adapter import WrongAnswer, as_numbers, nearly
from .operation import REGISTER, Arrays, Operation

LONGEST_LINE = 64 * 2**20  # characters


class Program:
    """A running program. WrongAnswer when it does not start or does not say hello."""

    def __init__(self, command: str, timeout: float = 60.0):
        self.command, self.timeout, self.asked, self.starts = command, timeout, 0, 0
        self._start()

    def _start(self) -> None:
        """It is asked for what it has; a program that died or hung is started anew, 3 times."""
        self.starts += 1
        try:
            # Windows splits the line itself, and keeps its backslashes
            words = self.command if os.name == "nt" else shlex.split(self.command)
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                encoding="utf-8", errors="replace", bufsize=1)
        except (OSError, ValueError) as error:
            raise WrongAnswer(f"{self.command!r} does not start: {error}") from None
        self.lines: queue.Queue = queue.Queue()
        threading.Thread(target=_read, args=(self.process, self.lines), daemon=True).start()
        reply = self._ask("hello", {"operation": "hello"})
        names = reply.get("operations")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise WrongAnswer("hello: expected a list of names as \"operations\", got "
                              f"{_short(names)}")
        self.operations, dtype = set(names), reply.get("dtype", "float64")
        if dtype not in ("float64", "float32"):
            raise WrongAnswer(f"hello: dtype must be float64 or float32, got {_short(dtype)}")
        self.dtype = np.dtype(dtype)

    def has(self, operation: Operation) -> bool:
        return operation.name in self.operations

    def answer(self, operation: Operation, inputs: Arrays) -> Arrays:
        """As Module.answer. WrongAnswer when the program hangs, dies, or says something else."""
        if self.process.poll() is not None and self.starts <= 3:
            self._start()
        reply = self._ask(operation.name, {"operation": operation.name,
                                           "inputs": wire.encode(inputs)})
        if "error" in reply:
            raise WrongAnswer(f"the program says: {_short(reply['error'])}")
        try:
            outputs = operation.named(wire.decode(reply.get("outputs")))
        except (TypeError, ValueError) as error:
            raise WrongAnswer(str(error)) from None
        return {name: as_numbers(f"{operation.name}: {name}", y) for name, y in outputs.items()}

    def misspelt(self) -> list[str]:
        """What it says it has, and is no operation."""
        unknown = sorted(self.operations - set(REGISTER))
        return nearly(self.operations) or [f"{name} is no operation" for name in unknown]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _ask(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        number, self.asked = self.asked, self.asked + 1
        try:
            self.process.stdin.write(json.dumps({"id": number, **request}) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise WrongAnswer(f"the program is gone when {what} is asked{self._left()}") from None
        try:
            line = self.lines.get(timeout=self.timeout)
        except queue.Empty:
            self.close()
            raise WrongAnswer(f"no answer to {what} within {self.timeout:g} s") from None
        if line is None:
            raise WrongAnswer(f"the program ended instead of answering {what}{self._left()}")
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            raise WrongAnswer(f"the answer to {what} is no JSON: {_short(line)}") from None
        if not isinstance(reply, dict) or reply.get("id") != number:
            raise WrongAnswer(f"expected the answer with id {number} to {what}, got {_short(line)}")
        return reply

    def _left(self) -> str:
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        return f", with exit status {status}"


def _read(process: subprocess.Popen, lines: queue.Queue) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline(LONGEST_LINE):
        lines.put(line)
    lines.put(None)


def _short(x: Any) -> str:
    text = x.strip() if isinstance(x, str) else repr(x)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"
