"""The cases with their right answers as files, for code that this machine cannot run.

    DIR/q_step.json     a file per operation: what it is; cases with inputs, outputs, tolerances
    DIR/schema.json     what such a file looks like, as JSON Schema
    DIR/SHA256SUMS      what `sha256sum -c` reads

A case's outputs are rounded once from extended precision. Its tolerances say how far each number
may be off in float64 (see tolerance.py); `condition` is the largest of them in units of eps |y|;
`flags` are the mistakes that move the case by 100 tolerances or more, and the header has a note on
each: "it matches if <note>". Cotangents, gradients and log-determinants are inputs and outputs like
others. Answers that were computed elsewhere come back as one file:

    {"q_step": [{"mean": ARRAY, "var": ARRAY}, ...an object per case], ...}
"""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from . import wire
from .adapter import WrongAnswer, as_numbers
from .operation import REGISTER, Arrays, Mistake, Operation
from .schema import SCHEMA
from .tolerance import Truth, error, truth, worst

VERSION = 2
SUMS, SCHEMA_FILE = "SHA256SUMS", "schema.json"
SHIPPED = Path(__file__).with_name("data")  # what write(SHIPPED) wrote


def document(operation: Operation) -> dict[str, Any]:
    """All that a file says."""
    cases = [truth(operation, case, np.float64) for case in operation.fixed_cases()]
    return {"schema": SCHEMA_FILE, "version": VERSION, "generator": "refvdm",
            "operation": operation.name, "equation": operation.equation,
            "summary": operation.summary.strip(), "notes": operation.notes,
            "inputs": operation.inputs, "outputs": operation.outputs,
            "number_of_cases": len(cases),
            "flags": {f"m{i}": mistake.name for i, mistake in enumerate(operation.mistakes)},
            "cases": [_case(operation, case) for case in cases]}


def _case(operation: Operation, case: Truth) -> dict[str, Any]:
    outputs = {name: np.asarray(y, np.float64) for name, y in case.outputs.items()}
    tolerances = {name: _short(y) for name, y in case.tolerances.items()}
    eps, size, right = np.finfo(float).eps, 0.0, operation.begin(case.inputs)
    for name, y in outputs.items():
        some = y != 0
        size = max(size, float(np.max(tolerances[name][some] / np.abs(y[some]), initial=0)) / eps)
    return {"inputs": {name: np.asarray(x) if isinstance(x, np.generic) else x
                       for name, x in case.inputs.items()},
            "outputs": outputs, "tolerances": tolerances, "condition": float(f"{size:.3g}"),
            "flags": [f"m{i}" for i, mistake in enumerate(operation.mistakes)
                      if _size(operation, case, mistake, right) >= 100]}


def _short(y: np.ndarray) -> np.ndarray:
    """Three digits are enough of a tolerance, and do not depend on the platform's logarithm."""
    return np.array([float(f"{v:.3g}") for v in np.ravel(y)]).reshape(y.shape)


def _size(operation: Operation, case: Truth, mistake: Mistake,
          right: tuple[Arrays, Arrays]) -> float:
    """How far it moves the case, in tolerances; what is computed without it is given."""
    with np.errstate(all="ignore"):
        early = mistake.inputs or mistake.instead
        begun = operation.begin(case.inputs, (mistake,)) if early else right
        wrong = operation.finish(*begun, (mistake,))
    if any(np.shape(wrong[name]) != np.shape(y) for name, y in case.outputs.items()):
        return np.inf
    return worst(error(wrong, case.outputs, case.tolerances))


def write(directory: str | Path) -> list[Path]:
    """Every operation's file and their digests, into a directory that is made if need be."""
    folder, files = Path(directory), []
    folder.mkdir(parents=True, exist_ok=True)
    for operation in REGISTER.values():
        files.append(folder / f"{operation.name}.json")
        files[-1].write_bytes(_text(document(operation)).encode())
    files.append(folder / SCHEMA_FILE)
    files[-1].write_text(json.dumps(SCHEMA, indent=1) + "\n", encoding="utf-8", newline="\n")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / SUMS).write_bytes("".join(sums).encode())
    return files


def _text(document: dict[str, Any]) -> str:
    """JSON with a line for every array: small, and readable in a diff."""
    flat = wire.encode({**document, "cases": None})
    head = json.dumps(flat, ensure_ascii=False, indent=1).replace('"cases": null', '"cases": [\n')
    cases = []
    for case in document["cases"]:
        parts = [f'  "{key}": {_array_lines(value)}' for key, value in case.items()]
        cases.append(" {\n" + ",\n".join(parts) + "\n }")
    return head[: -len("\n}")] + ",\n".join(cases) + "\n]}\n"


def _array_lines(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    rows = [f'   "{name}": {wire.dumps(x)}' for name, x in value.items()]
    return "{\n" + ",\n".join(rows) + "}"


def read(directory: str | Path) -> dict[str, list[Truth]]:
    """The cases of a directory by operation. ValueError for files that are not as they were
    written, FileNotFoundError for those that are missing."""
    folder, found = Path(directory), {}
    for line in (folder / SUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        if not name:
            raise ValueError(f"{folder / SUMS} must hold digests and names, got {line[:80]!r}")
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{folder / name} is not the file that {SUMS} describes")
        if name == SCHEMA_FILE:
            continue
        document = json.loads(content)
        if not isinstance(document, dict) or not {"version", "operation", "cases"} <= set(document):
            raise ValueError(f"{folder / name} is no file of cases")
        if document["version"] != VERSION:
            raise ValueError(f"{folder / name} has version {document['version']}, expected "
                             f"{VERSION}")
        found[document["operation"]] = [
            Truth(*(wire.decode(case[key]) for key in ("inputs", "outputs", "tolerances")))
            for case in document["cases"]]
    return found


class Answers:
    """An adapter that has its answers from a file. WrongAnswer for a file that holds none."""

    dtype = np.dtype(np.float64)

    def __init__(self, path: str | Path):
        try:
            self.given = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise WrongAnswer(f"{path} is no JSON: {error}") from None
        if not isinstance(self.given, dict):
            raise WrongAnswer(f"{path} must hold an object of operations, got a "
                              f"{type(self.given).__name__}")
        unknown = sorted(set(self.given) - set(REGISTER))
        if unknown:
            raise WrongAnswer(f"{path}: no operation is called {', '.join(unknown)}")
        self.asked: dict[str, int] = {}

    def has(self, operation: Operation) -> bool:
        return operation.name in self.given

    def answer(self, operation: Operation, inputs: Arrays) -> Arrays:
        cases = self.given[operation.name]
        i = self.asked.get(operation.name, 0)
        self.asked[operation.name] = i + 1
        if not isinstance(cases, list) or i >= len(cases):
            got = len(cases) if isinstance(cases, list) else type(cases).__name__
            raise WrongAnswer(f"expected a list with an answer to each case, got {got}")
        try:
            outputs = operation.named(wire.decode(cases[i]))
        except ValueError as error:
            raise WrongAnswer(str(error)) from None
        return {name: as_numbers(f"{operation.name}: {name}", y) for name, y in outputs.items()}
