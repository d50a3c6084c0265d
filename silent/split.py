import re
src=open('refvdm/checks.py').read()
a=src.index("# ---------------------------------------------------------------- single values")
b=src.index("def unrecorded(")
c=src.index("def function(name")
d=src.index("def parameters(name")
e=src.index("# ---------------------------------------------------------------- the pieces")
singles=src[a:b]+src[c:d]
rest_head=src[:a]; unrec=src[b:c]; params=src[d:e]; pieces=src[e:]
i=pieces.index("def _is_integer"); j=pieces.index("def _fits(")
nums=pieces[i:j]; pieces=pieces[:i]+pieces[j:]
called_i=params.index("def called("); keys_i=params.index("def keys(")
called=params[called_i:keys_i]; params=params[:called_i]+params[keys_i:]
ret_i=rest_head.index("def returned(")
returned=rest_head[ret_i:]; rest_head=rest_head[:ret_i]
singles=singles.split("\n",1)[1].lstrip("\n")
values='''"""Checks of single values: numbers, words, flags, shapes, lists, objects. See checks.py, from which
they are used together with the checks of arrays."""
from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .autodiff import Tensor

Kind = TypeVar("Kind")


'''+singles.rstrip()+'''


# ---------------------------------------------------------------- the pieces


'''+nums.rstrip()+"\n"
open('refvdm/values.py','w').write(values)
checks=(rest_head.rstrip()+"\n\n\n"+unrec.rstrip()+"\n\n\n# ---------------------------------------------------------------- parameters\n\n\n"+params.rstrip()
 +"\n\n\n# ---------------------------------------------------------------- what a caller's functions return\n\n\n"+called.rstrip()+"\n\n\n"+returned.rstrip()+"\n\n\n"+pieces)
open('refvdm/checks.py','w').write(checks)
