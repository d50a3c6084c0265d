p='refvdm/checks.py'; s=open(p).read()
s=s.replace('''Shapes are written as in the docstrings, ("batch", ..., 3): a number is that length, a word is any
length, ... any number of axes.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .autodiff import Tensor
from .autodiff.tree import leaves
from .names import asked_at, foreign, ordinary, shown, what

Kind = TypeVar("Kind")
BATCH''','''Here are arrays, parameters, and what a caller's functions return; numbers, words and shapes are in
values.py. Shapes are written as in the docstrings, ("batch", ..., 3): a number is that length, a
word is any length, ... any number of axes.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .autodiff import Tensor
from .autodiff.tree import leaves
from .names import asked_at, foreign, ordinary, shown, what
from .values import (
    either,
    file,
    flag,
    function,
    generator,
    instance,
    integer,
    lengths,
    listed,
    number,
    one_of,
    positive,
    sizes,
)

__all__ = [
    "called", "either", "entries", "file", "flag", "floats", "function", "generator", "instance",
    "integer", "integers", "keys", "lengths", "levels", "like", "listed", "noise", "number",
    "one_of", "parameters", "positive", "reals", "answer", "returned", "sizes", "unrecorded",
    "what"]

BATCH''')
a=s.index("def called("); b=s.index("def returned(")
s=s[:a]+'''def answer(by: str, f: Callable, args: Sequence, shape: Sequence, t: Any = None, *,
           log: bool = False) -> Any:
    """f(*args) of a caller's f, as `called` and `returned` have it."""
    return returned(by, called(by, f, *args, t=t), shape, t, log=log)


def called(who: str, f: Callable, *args: Any, t: Any = None) -> Any:
    """f(*args) of a caller's f, where an error tells whose it is, and the t it was asked at."""
    try:
        return f(*args)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        kind = TypeError if isinstance(error, (TypeError, AttributeError)) else ValueError
        raise kind(f"{who} raised {type(error).__name__}: {error}{asked_at(t)}") from error


'''+s[b:]
open(p,'w').write(s)
p='refvdm/values.py'; s=open(p).read()
s=s.replace('''def listed(''','''def file(name: str, path: Any) -> Path:
    """The path of a file that is there, or may come to be: no folder, no device."""
    try:
        path = Path(os.fsdecode(path))
    except TypeError:
        raise TypeError(f"{name} must be a path, got {type(path).__name__}") from None
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ValueError(f"{name} must be a file, {path} is {kind}")
    return path


def listed(''',1)
open(p,'w').write(s)
p='refvdm/autodiff/vjp.py'; s=open(p).read()
s=s.replace('''    except ValueError as error:
        if refuse.NO_NUMBER in str(error.__cause__):  # NumPy hides what the Tensor said
            raise refuse.assigned() from error
        raise
''','''    except ValueError as error:
        cause: BaseException | None = error  # NumPy hides what the Tensor said
        while cause is not None:
            if refuse.NO_NUMBER in str(cause.__cause__):
                raise refuse.assigned() from error
            cause = cause.__cause__
        raise
''')
open(p,'w').write(s)
p='refvdm/autodiff/linalg.py'; s=open(p).read()
s=s.replace('''       lambda b_bar, y, a, b: -(b_bar.reshape(len(a), -1) @ y.reshape(len(a), -1).T),
''','''       lambda b_bar, y, a, b: -(_columns(b_bar) @ _columns(y).T),
''')
s=s.replace('''    columns = (len(a), 1 if b_bar.ndim == 1 else b_bar.shape[1])  # not -1: a may be (0, 0)
    full, diagonal = -(left.reshape(columns) @ right.reshape(columns).T), int(unit_diagonal)
''','''    full, diagonal = -(_columns(left) @ _columns(right).T), int(unit_diagonal)
''')
s=s.replace('''solve_triangular = defvjp(''','''def _columns(b):
    """b (n,) or (n, k) as columns; a -1 would fail for n = 0."""
    return b[:, None] if b.ndim == 1 else b


solve_triangular = defvjp(''',1)
open(p,'w').write(s)
