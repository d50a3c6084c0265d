"""Trees on disk: one npz file, no pickle, moved into place only when it is whole.

The file holds the arrays of the tree as members "0", "1", ... and a JSON header. The header says
what format and version this is, and where in the tree each array and each plain value (number,
string, bool, None) belongs. Every member carries zip's CRC-32.
"""
from __future__ import annotations

import glob
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .autodiff.tree import Tree

FORMAT, VERSION = "refvdm checkpoint", 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: corrupt, truncated, foreign, newer, or of another run.

    The file is left as it is.
    """


def save_checkpoint(path: str | os.PathLike, tree: Tree) -> None:
    """Write the tree to `path`, so that whatever happens `path` holds the old file or the new one.

    It is written whole under a temporary name beside `path`, forced to the disk, then moved into
    place. Leaves are arrays (not of objects) and plain values; dict keys are strings or numbers.
    TypeError for other leaves.
    """
    path = Path(path)
    arrays: list[np.ndarray] = []
    header = {"format": FORMAT, "version": VERSION, "tree": _encode(tree, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    # left by processes that were killed while they wrote
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if time.time() - left.stat().st_mtime > 600:
            left.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp",
                                     delete=False) as file:
        try:
            members: dict[str, Any] = {str(i): array for i, array in enumerate(arrays)}
            members["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
            np.savez(file, **members)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~_umask())  # temporary files are made private
            os.replace(file.name, path)
        except BaseException:  # an interrupt just behind os.replace finds the temporary name gone
            Path(file.name).unlink(missing_ok=True)
            raise


def load_checkpoint(path: str | os.PathLike) -> Tree:
    """The tree in `path`.

    FileNotFoundError when there is no file; CheckpointError, saying why, when it cannot be used.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            if "header" not in members:
                held = ", ".join(members.files[:5]) or "nothing"
                raise CheckpointError(f"{path} is not a refvdm checkpoint: it holds {held}")
            header = json.loads(members["header"].tobytes())
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a refvdm checkpoint: its header names "
                                      f"another format")
            if header["version"] > VERSION:
                raise CheckpointError(f"{path} is of format version {header['version']}, newer "
                                      f"than this refvdm reads ({VERSION}); update refvdm")
            return _decode(header["tree"], members)
    except (FileNotFoundError, IsADirectoryError, PermissionError, CheckpointError):
        raise
    except Exception as error:  # arbitrary bytes fail in arbitrary ways: zipfile, zlib, json, NumPy
        raise CheckpointError(f"{path} is corrupt, truncated or not a checkpoint "
                              f"({type(error).__name__}: {error}); it was left as it is. "
                              f"Move it away to start anew") from error


def _encode(tree: Tree, arrays: list[np.ndarray]) -> dict:
    """The tree as JSON, its arrays appended to the list and named by their places there."""
    if isinstance(tree, dict):
        return {"dict": [[key, _encode(child, arrays)] for key, child in tree.items()]}
    if isinstance(tree, (list, tuple)):
        kind = "list" if type(tree) is list else "tuple"
        return {kind: [_encode(child, arrays) for child in tree]}
    if isinstance(tree, (np.ndarray, np.generic)) and tree.dtype != object:
        arrays.append(np.asarray(tree))
        return {"array": len(arrays) - 1}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return {"value": tree}
    raise TypeError(f"save_checkpoint: expected arrays, numbers, strings, bools and None, "
                    f"got {type(tree).__name__}")


def _decode(node: dict, members: Mapping[str, np.ndarray]) -> Tree:
    ((kind, content),) = node.items()
    if kind == "dict":
        return {key: _decode(child, members) for key, child in content}
    if kind in ("list", "tuple"):
        children = [_decode(child, members) for child in content]
        return children if kind == "list" else tuple(children)
    return members[str(content)] if kind == "array" else content


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
