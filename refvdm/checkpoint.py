"""Trees on disk: one npz file, no pickle, moved into place only when it is whole.

The file holds the arrays of the tree as members "0", "1", ... and a JSON header. The header says
what format and version this is, and where in the tree each array and each plain value (number,
string, bool, None) belongs. The SHA-256 of all that stands at the end of the file, as the comment
that a zip archive may have; nothing is read before it is checked. NumPy's own np.load reads the
members, too.
"""
from __future__ import annotations

import glob
import hashlib
import io
import json
import math
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import checks
from .autodiff.tree import EXTRAORDINARY, Tree

__all__ = ["CheckpointError", "load_checkpoint", "save_checkpoint"]

FORMAT, VERSION = "refvdm checkpoint", 1
MARK = b"sha256 "
DIGEST = 64  # hexadecimal digits behind the mark
NUMBERS = "biufc"  # kinds of dtypes; complex ones, for who saves more than parameters
EMPTY_COMMENT = b"\0\0"  # its length: what an archive without a comment ends with


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: corrupt, truncated, foreign, newer, or of another run.

    The file is left as it is.

    >>> import os, tempfile
    >>> from refvdm.checkpoint import CheckpointError, load_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(os.path.join(folder, "a"), "wb") as file:
    ...         _ = file.write(b"something else")
    ...     try:
    ...         load_checkpoint(os.path.join(folder, "a"))
    ...     except CheckpointError:
    ...         print("refused")
    refused
    """


def save_checkpoint(path: str | os.PathLike, tree: Tree) -> None:
    """Write the tree to `path`, so that whatever happens `path` holds the old file or the new one.

    It is written whole under a temporary name beside `path`, forced to the disk, then moved into
    place. Leaves are arrays of numbers or bools, and plain values (numbers, strings, bools, None);
    dict keys are strings, numbers, bools or None. TypeError, naming the place in the tree, for
    others: what was saved can be loaded. OSError, naming `path`, when it cannot be written;
    ValueError when it is a folder or a device.

    >>> import os, tempfile
    >>> from refvdm.checkpoint import load_checkpoint, save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(os.path.join(folder, "a"), {"w": np.arange(3.0), "step": 7})
    ...     print(load_checkpoint(os.path.join(folder, "a"))["step"])
    7
    """
    path = checks.file("save_checkpoint: path", path)
    arrays: list[np.ndarray] = []
    header = {"format": FORMAT, "version": VERSION, "tree": _encode(tree, arrays, "")}
    data = _packed(header, arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        _write(path, data)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}; the checkpoint was not written, "
                                   f"the file is as it was", str(path)) from error


def load_checkpoint(path: str | os.PathLike) -> Tree:
    """The tree in `path`.

    FileNotFoundError when there is no file, ValueError when it is a folder or a device;
    CheckpointError, saying why, when it cannot be used.

    >>> import os, tempfile
    >>> from refvdm.checkpoint import load_checkpoint, save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(os.path.join(folder, "a"), [np.arange(3.0), "name"])
    ...     print(load_checkpoint(os.path.join(folder, "a"))[1])
    name
    """
    path = checks.file("load_checkpoint: path", path)
    data = path.read_bytes()
    try:
        _check_digest(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if "header" not in members:
                held = ", ".join(list(members)[:5]) or "nothing"
                raise CheckpointError(f"{path} is not a refvdm checkpoint: it holds {held}")
            header = json.loads(_array(archive, members["header"], len(data)).tobytes())
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a refvdm checkpoint: its header names "
                                      f"another format")
            version = checks.integer("the format's version", header["version"])
            if version > VERSION:
                raise CheckpointError(f"{path} is of format version {version}, newer "
                                      f"than this refvdm reads ({VERSION}); update refvdm")
            return _decode(header["tree"],
                           lambda i: _array(archive, members[str(i)], len(data)))
    except CheckpointError:
        raise
    except Exception as error:  # arbitrary bytes fail in arbitrary ways: zipfile, zlib, json, NumPy
        raise CheckpointError(f"{path} is corrupt, truncated or not a checkpoint "
                              f"({type(error).__name__}: {error}); it was left as it is. "
                              f"Move it away to start anew") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` at the end: the file is whole or not there.

    >>> import pathlib, tempfile
    >>> from refvdm import experiment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with experiment.whole(pathlib.Path(folder) / "a.txt") as path:
    ...         _ = path.write_text("all of it")
    ...     print([file.name for file in pathlib.Path(folder).iterdir()])
    ['a.txt']
    """
    path = checks.file("whole: path", path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


# ---------------------------------------------------------------- trees as JSON and arrays


def _encode(tree: Tree, arrays: list[np.ndarray], place: str) -> dict:
    """The tree as JSON, its arrays appended to the list and named by their places there."""
    if isinstance(tree, dict):
        for key in tree:
            if isinstance(key, np.generic) or not isinstance(key, (str, int, float, type(None))):
                raise TypeError(f"save_checkpoint: dict keys of a tree must be strings or numbers, "
                                f"got {key!r} of type {type(key).__name__} in "
                                f"{place or 'the root'}")
        return {"dict": [[key, _encode(child, arrays, f"{place}[{key!r}]")]
                         for key, child in tree.items()]}
    if isinstance(tree, (list, tuple)):
        kind = "list" if type(tree) is list else "tuple"
        return {kind: [_encode(child, arrays, f"{place}[{i}]") for i, child in enumerate(tree)]}
    if (isinstance(tree, (np.ndarray, np.generic)) and tree.dtype.kind in NUMBERS
            and not isinstance(tree, EXTRAORDINARY)):
        arrays.append(np.asarray(tree))
        return {"array": len(arrays) - 1}
    if tree is None or isinstance(tree, (int, float, str)) and not isinstance(tree, np.generic):
        return {"value": tree}
    raise TypeError(f"save_checkpoint: expected arrays, numbers, strings, bools and None in "
                    f"a tree, got {checks.what(tree)} at {place or 'the root'}")


def _decode(node: dict, array: Any) -> Tree:
    """The tree that _encode wrote; array(i) is the array of that number."""
    ((kind, content),) = node.items()
    if kind == "dict":
        return {key: _decode(child, array) for key, child in content}
    if kind in ("list", "tuple"):
        children = [_decode(child, array) for child in content]
        return children if kind == "list" else tuple(children)
    if kind == "array":
        return array(checks.integer("an array's number", content, 0))
    if kind != "value" or not (content is None or isinstance(content, (int, float, str))):
        raise ValueError(f"the header holds {content!r} as a {kind!r}, which is no part of a tree")
    return content


# ---------------------------------------------------------------- bytes


def _packed(header: dict, arrays: list[np.ndarray]) -> bytes:
    """The whole file."""
    members: dict[str, Any] = {str(i): array for i, array in enumerate(arrays)}
    members["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **members)
    archive = buffer.getvalue().removesuffix(EMPTY_COMMENT)
    body = archive + (len(MARK) + DIGEST).to_bytes(2, "little") + MARK
    return body + hashlib.sha256(body).hexdigest().encode()


def _check_digest(data: bytes) -> None:
    body, digest = data[:-DIGEST], data[-DIGEST:]
    if body.endswith(MARK):
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("its bytes are not those that were written")
    # earlier files have no digest: they end with the archive's own record, 22 bytes, no comment
    elif not (data[-22:-18] == b"PK\5\6" and data.endswith(EMPTY_COMMENT)):
        raise ValueError("it does not end as it should")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray:
    """One member. What it promises is held against the file's size before anything is allocated."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise ValueError(f"member {info.filename} does not fit into the file")
    member = io.BytesIO(archive.read(info))  # checks its CRC-32
    read = {(1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0}[np.lib.format.read_magic(member)]
    shape, _, dtype = read(member)
    there = info.file_size - member.tell()
    if dtype.kind not in NUMBERS or math.prod(shape) * dtype.itemsize != there:
        raise ValueError(f"member {info.filename} promises shape {shape} of {dtype}, which are no "
                         f"numbers in its {there} bytes")
    member.seek(0)
    return np.lib.format.read_array(member, allow_pickle=False)


def _write(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.chmod(name, 0o666 & ~_umask())  # temporary files are made private
        os.replace(name, path)  # behind the closing: Windows does not move open files
    except BaseException:  # an interrupt just behind os.replace finds the temporary name gone
        Path(name).unlink(missing_ok=True)
        raise


def _remove_leftovers(path: Path) -> None:
    """What processes left that were killed while they wrote; not what another is writing now."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # another process may be at the same
            if time.time() - left.stat().st_mtime > 600:
                left.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
