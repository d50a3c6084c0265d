"""Every kind of wrong argument, and what must be as good as a right one.

A case is a call with valid arguments, each with its kind. `wrong` of a kind says what is tried in the place of an
argument; `same` says in what other form it may stand there, and gives the same result.
"""
import re
import types
from collections import Counter

import numpy as np

from refvdm.autodiff.check import GradientError
from refvdm.checkpoint import CheckpointError
from refvdm.conformance.judge import ERROR
from refvdm.conformance.report import Report
from refvdm.fit import NonFiniteLoss
from refvdm.ode import SolverError

REFUSALS = (TypeError, ValueError, CheckpointError, NonFiniteLoss, SolverError, GradientError)  # all documented
CASES: dict = {}
RIGHT: set = set()  # what is right although it looks wrong: (case, argument, label)


def case(name, call, /, *right, **arguments):
    """arguments: name = (kind, a valid value); a "?" behind the kind: None is valid too. right: (argument, labels) of
    what is right although it looks wrong."""
    assert name not in CASES, name
    CASES[name] = call, arguments
    RIGHT.update((name, argument, label) for argument, labels in right for label in labels.split(", "))


# ---------------------------------------------------------------- what is tried


class Foreign:
    """As torch's and jax's arrays look from outside: a shape, a dtype, and a way to NumPy."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.ndim = x, x.shape, "torch.float64", x.ndim

    def __array__(self, dtype=None, copy=None):
        return self.x


def foreign(module):
    return type("Tensor", (Foreign,), {"__module__": module})


NOTHING = {"a string": "a", "a bool": True, "an object": object(), "a set": {1}}


def wrong_floats(x, *, fixed=True):
    yield from NOTHING.items()
    yield from {"None": None, "int": 3, "float": 0.5, "list": x.tolist(), "complex": x + 0j, "integers": x.astype(int),
                "bools": x > 0, "strings": x.astype(str), "objects": x.astype(object), "masked": np.ma.array(x),
                "torch": foreign("torch")(x), "jax": foreign("jaxlib")(x), "0-d": np.array(0.5), "empty": x[:0],
                "a dict": {}}.items()
    if x.ndim == 2:
        yield "matrix", x.view(np.matrix)
    for bad in (np.nan, np.inf, -np.inf):
        yield str(bad), np.where(np.arange(x.size).reshape(x.shape) == x.size - 1, bad, x)
    if fixed:
        yield from {"an axis more": x[..., None], "an axis less": x[0], "longer": np.concatenate([x, x])}.items()


def same_floats(x):
    spread = np.zeros((*x.shape, 2), x.dtype)
    spread[..., 1] = x
    locked = x.copy()
    locked.flags.writeable = False
    yield from {"read-only": locked, "not contiguous": spread[..., 1], "Fortran": np.array(x, order="F"),
                "byte-swapped": x.astype(x.dtype.newbyteorder())}.items()


def wrong_rows(x):
    """Of (batch, ..., n) with a batch that may be empty."""
    for label, bad in wrong_floats(x):
        if label not in ("empty", "longer"):
            yield label, bad


def wrong_unseen(x):
    """Of (..., n) whose values nobody looks at: nan gives nan."""
    for label, bad in wrong_rows(x):
        if label not in ("nan", "inf", "-inf", "an axis less"):
            yield label, bad


def wrong_elements(x):
    """Of a formula that is applied element by element and lets nan through."""
    for label, bad in wrong_floats(x, fixed=False):
        if label not in ("int", "float", "0-d", "empty", "nan", "inf", "-inf"):
            yield label, bad


def wrong_reals(x):
    for label, bad in wrong_floats(x):
        if label not in ("list", "integers", "torch", "jax"):
            yield label, bad


def same_reals(x):
    yield from same_floats(x)
    yield from {"list": x.tolist(), "tuple": tuple(x.tolist()), "torch": foreign("torch")(x)}.items()


def wrong_times(t):
    yield from NOTHING.items()
    yield from {"None": None, "float": 2.0, "floats": t + 0.0, "complex": t + 0j, "nan": t * np.nan, "bools": t > 0,
                "masked": np.ma.array(t), "strings": t.astype(str), "0": t * 0, "after T": t + T, "negative": -t,
                "longer": np.concatenate([t, t]), "an axis more": t[:, None], "empty": t[:0],
                }.items()


T = 4  # of the cases that know a time


def same_times(t):
    yield from {"list": t.tolist(), "torch": foreign("torch")(t), "uint8": t.astype(np.uint8),
                "byte-swapped": t.astype(">i4"),
                "not contiguous": np.repeat(t, 2)[::2]}.items()


def wrong_real_times(t):
    for label, bad in wrong_times(t):
        if label not in ("float", "floats", "empty"):
            yield label, bad


def same_real_times(t):
    yield from same_times(t)
    yield from {"floats": t + 0.0, "float list": (t + 0.0).tolist()}.items()


def wrong_levels(x):
    """Of integers 0..K-1 of any shape."""
    for label, bad in wrong_times(x):
        if label not in ("0", "longer", "an axis more", "empty"):
            yield label, bad


def wrong_integer(n):
    yield from NOTHING.items()
    yield from {"None": None, "float": float(n), "half": n + 0.5, "digits": str(n), "0": 0, "negative": -n,
                "nan": np.nan,
                "complex": n + 0j, "array": np.array([n]), "list": [n]}.items()


def wrong_number(x):
    yield from NOTHING.items()
    yield from {"None": None, "digits": str(x), "nan": np.nan, "inf": np.inf, "-inf": -np.inf, "complex": x + 0j,
                "array": np.array([x]), "list": [x]}.items()


def wrong_positive(x):
    yield from wrong_number(x)
    yield from {"0": 0, "negative": -x}.items()


def wrong_shape(shape):
    yield from NOTHING.items()
    yield from {"None": None, "list": list(shape), "empty": (), "0": (0, *shape[1:]), "negative": (-1, *shape[1:]),
                "float": (2.0, *shape[1:]), "bool": (True, *shape[1:]), "int": 3, "inner 0": (3, 0),
                "array": np.array(shape)}.items()


def others(*bad):
    return lambda x: [*NOTHING.items(), *((repr(b)[:30], b) for b in (3, None, *bad))]


def wrong_theta(theta):
    """A tree that only the caller's own code looks into is refused for its keys alone."""
    yield from NOTHING.items()
    yield from {"None": None, "no keys": {}, "array": np.ones((3, 4)), "list": [theta],
                "extra key": {**theta, "more": np.ones(2)}}.items()
    for key in theta:
        yield f"without {key}", {k: v for k, v in theta.items() if k != key}
        for bad in (None, {}, "a", 0.5, 1j * np.ones((3, 4))) if key != "denoiser" or "schedule" in theta else ():
            yield f"{key} = {bad!r}"[:30], {**theta, key: bad}


def wrong_parameters(theta):
    """Of a leaf: dict of arrays."""
    yield from wrong_theta(theta)
    for key, x in theta.items():
        x = np.asarray(x)
        for label, bad in wrong_indices(x) if x.dtype.kind == "i" else wrong_floats(x) if x.ndim else ():
            yield f"{key}: {label}", {**theta, key: bad}


def wrong_indices(x):
    for label, bad in wrong_times(x):
        if label != "0":
            yield label, bad
    yield "torch", foreign("torch")(x)


def same_parameters(theta):
    for key, x in theta.items():
        for label, other in same_floats(np.asarray(x)):
            yield f"{key}: {label}", {**theta, key: other}


def wrong_tree(theta):
    """Of any tree with at least one float leaf, here a flat dict of arrays."""
    yield from NOTHING.items()
    yield from {"None": None, "no leaf": {}, "int": 3, "integers": np.arange(3), "an empty list": []}.items()
    for key, x in theta.items():
        for label, bad in wrong_floats(np.asarray(x), fixed=False):
            if label in ("a string", "an object", "a set", "complex", "strings", "objects", "masked", "matrix", "torch",
                         "jax"):
                yield f"{key}: {label}", {**theta, key: bad}


def wrong_matching_tree(theta):
    """Of a tree that stands beside another one of the same structure and shapes."""
    yield from wrong_tree(theta)
    yield from {"extra key": {**theta, "more": np.ones(2)}, "list": list(theta.values())}.items()
    for key, x in theta.items():
        yield f"without {key}", {k: v for k, v in theta.items() if k != key}
        for label, bad in wrong_floats(x):
            if label in ("an axis more", "an axis less", "longer", "0-d", "empty", "int", "None", "list", "integers"):
                yield f"{key}: {label}", {**theta, key: bad}


def wrong_thetas(thetas):
    """A list with the parameters of one part each."""
    yield from NOTHING.items()
    yield from {"None": None, "int": 3, "a dict": {}, "empty": [], "one less": thetas[:-1], "array": np.ones((3, 4)),
                "one more": [*thetas, {}]}.items()


KINDS = {
    "floats": (wrong_floats, same_floats), "examples": (lambda x: wrong_floats(x, fixed=False), same_floats),
    "unseen": (wrong_unseen, same_floats), "rows": (wrong_rows, same_floats), "elements": (wrong_elements, same_floats),
    "reals": (wrong_reals, same_reals), "times": (wrong_times, same_times),
    "real times": (wrong_real_times, same_real_times), "levels": (wrong_levels, same_times),
    "integer": (wrong_integer, lambda n: [("np.int64", np.int64(n)), ("np.uint8", np.uint8(n))]),
    "number": (wrong_number, lambda x: [("np.float64", np.float64(x)), ("np.longdouble", np.longdouble(x))]),
    "positive": (wrong_positive, lambda x: [("np.float64", np.float64(x)), ("np.longdouble", np.longdouble(x))]),
    "word": (others("foo", ["x_0"]), lambda x: []),
    "flag": (lambda x: [(repr(b)[:30], b) for b in (None, "no", 0, 1, 0.0, [], np.ones(1, bool))],
             lambda x: [("np.bool_", np.bool_(x))]),
    "shape": (wrong_shape, lambda s: [("np.int64", tuple(map(np.int64, s)))]),
    "rng": (others(np.random, np.random.RandomState(0), 0), lambda x: []),
    "object": (others(np.ones(3), type), lambda x: []), "callable": (others(np.ones((3, 4))), lambda x: []),
    "text": (lambda x: [(repr(b)[:30], b) for b in (None, 1, [], np.ones(3), b"q", True)], lambda x: []),
    "dict": (others([], [1]), lambda x: []),
    "theta": (wrong_theta, lambda x: []), "thetas": (wrong_thetas, lambda x: [("a tuple", tuple(x))]),
    "weights": (lambda theta: [pair for pair in wrong_parameters(theta) if pair[0].rpartition(": ")[2] not in (
        "nan", "inf", "-inf")], same_parameters),
    "parameters": (wrong_parameters, same_parameters), "tree": (wrong_tree, same_parameters),
    "tree beside": (wrong_matching_tree, same_parameters),
    "any": (lambda x: [], lambda x: []),
    "path": (lambda x: [("a folder", x.parent), *((repr(b)[:30], b) for b in (3, None, True, 0.5, object(), [x]))],
             lambda x: [("str", str(x)), ("bytes", str(x).encode())]),
    "dtype": (lambda x: [("int", int), ("a string", "foo"), ("an object", object()), ("complex", complex)],
              lambda x: [("f8", "f8"), ("byte-swapped", ">f8")]),
}


# ---------------------------------------------------------------- trying it


def seeded():
    return np.random.default_rng(1)


def arrays(result):
    """What a call gave, as a list of arrays. A report whose verdict is an error refuses, in its words."""
    if isinstance(result, Report):
        said = [f"{v.name}: {v.why}" for v in result.verdicts if v.status == ERROR]
        if said:
            raise ValueError("; ".join(said))
        return [np.asarray([v.worst for v in result.verdicts])]
    if isinstance(result, dict):
        return [a for value in result.values() for a in arrays(value)]
    if isinstance(result, (tuple, list, types.GeneratorType)):
        return [a for value in result for a in arrays(value)]
    return [np.asarray(result)]


# Two shapes that do not fit each other: the error may name either
SHAPES = {"an axis more", "an axis less", "longer", "empty", "0-d", "int", "float"}


# What an argument is called by who found it wrong: a layer, a network, a learned schedule
CALLED = {"theta": ["parameters"], "primal": ["cotangent"], "tree": ["primal"], "denoiser": ["x_0_hat"],
          "z": ["y", "x"], "data": ["x"], "x": ["z_0"], "zs": ["z_[12]", "latents"], "eps": ["noise"],
          "encoders": [r"encoder \d"], "decoders": [r"decoder \d"]}


def names_of(name, argument, label):
    """What an error may name, as patterns."""
    arguments, leaf = CASES[name][1], label.partition(": ")
    asked = arguments if (leaf[2] or label) in SHAPES else [argument]
    leaves = [leaf[0]] if leaf[2] else []
    return [*leaves, *(each for one in asked for each in (one, *CALLED.get(one, ())))]


def attempt(name, argument, count=None):
    """All that is wrong in the place of this argument is refused by its name; all that is the same gives the same.
    count: a Counter of what came."""
    count = Counter() if count is None else count
    call, arguments = CASES[name]
    kind, value = arguments[argument]
    optional, kind = kind[-1] == "?", kind.rstrip("?")
    wrong, same = KINDS[kind]

    def result(given):
        given = {**{key: v for key, (_, v) in arguments.items()}, argument: given}
        for key, (other, _) in arguments.items():
            if other == "rng" and key != argument:
                given[key] = seeded()
        with np.errstate(all="raise"):
            return arrays(call(**given))

    expected = result(seeded() if kind == "rng" else value)
    assert all(np.isfinite(a[~np.isnan(a) & (a != -np.inf)]).all() for a in expected if a.dtype.kind == "f")
    for label, other in same(value):
        for got, right in zip(result(other), expected, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-12, err_msg=f"{name}, {argument} as {label}")
        count["right"] += 1
    for label, bad in wrong(value):
        if label == "None" and optional:
            continue
        try:
            result(bad)
        except REFUSALS as error:
            named = re.search(rf"\b({'|'.join(names_of(name, argument, label))})(?![a-z])", str(error))
            assert named, f"{name}: {argument} = {label} is refused without a name: {error}"
            count["refused"] += 1
        else:
            assert (name, argument, label) in RIGHT, f"{name}: {argument} = {label} is silent"
            count["right"] += 1
