"""`check_vjp`: is the gradient of this function right? For the rules here and anybody's own."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..values import generator, integer, number, one_of
from .tree import Tree, is_float, ravel, tree_leaves, tree_map
from .vjp import stop_gradient, vjp


class GradientError(AssertionError):
    """A wrong gradient: which function, argument and index, what was expected and what came.

    >>> from refvdm.autodiff import GradientError, check_vjp, defvjp
    >>> wrong = defvjp(lambda x: x**3, lambda y_bar, y, x: y_bar * 2 * x**2)
    >>> try:
    ...     check_vjp(wrong, np.array([2.0]))
    ... except GradientError:
    ...     print("wrong")
    wrong
    """


def check_vjp(f: Callable, *primals: Tree, method: str = "central", rtol: float | None = None,
              atol: float | None = None, step: float | None = None, most: int = 200,
              rng: np.random.Generator | None = None) -> None:
    """Prove the pullback of f at these primals: GradientError names the first fault.

    With a random cotangent y_bar and phi(x) = <y_bar, f(x)>, checked are
      - the value: f on Tensors gives the bits of f on arrays;
      - structure, shape and dtype of every cotangent; finite; no memory shared with the seed or
        each other; seed unchanged;
      - equal bits on a second call; pullback(0) = 0; linearity in y_bar;
      - every element of the cotangents (up to `most` for each leaf, then a random choice) against
        d phi/dx_i by
        method "central": central differences at steps h and 2h, extrapolated (error O(h^4)),
            h = step max(1, |x_i|), step 3e-4; the function must be smooth within 2h of the primals
            (bound your domain, not the tolerance), or
        method "complex": Im phi(x + ih)/h with h = 1e-30, exact to rounding, where f takes complex
            arrays and is analytic;
      - a random direction d through all elements: the Taylor remainder
        phi(x + hd) - phi(x) - h <x_bar, d> falls as h^2.

    Tolerance: |got - expected| <= atol + rtol |expected|. rtol is 1e-6 for central, 1e-11 for
    complex and 1e-3 for float32 primals (whose expected values are computed in float64); atol
    defaults to rtol times the largest expected element (a rounding floor when all are 0).
    ValueError or TypeError for an unknown method and other options that make no sense; whatever f
    and vjp raise.

    >>> from refvdm.autodiff import check_vjp
    >>> check_vjp(lambda x, w: np.tanh(x @ w), np.array([0.3, -0.8]), np.array([[1.0], [0.5]]))
    """
    one_of("check_vjp: method", method, ("central", "complex"))
    for option, x, interval in (("rtol", rtol, "[0, inf)"), ("atol", atol, "[0, inf)"),
                                ("step", step, "(0, inf)")):
        if x is not None:
            number(f"check_vjp: {option}", x, interval)
    integer("check_vjp: most", most)
    rng = np.random.default_rng(0) if rng is None else generator("check_vjp: rng", rng)
    name = getattr(f, "__name__", repr(f))
    value, pullback = vjp(f, *primals)
    _same_value(name, value, f(*tree_map(_as_recorded, primals)))
    y_bar = _random_like(value, rng)
    x_bars = _check_structure(name, value, pullback, y_bar, primals)
    _check_linear(name, value, pullback, y_bar, x_bars, rng)

    low = any(x.dtype.itemsize < 8 for x in _floats(primals))
    if rtol is None:
        rtol = 1e-3 if low else 1e-11 if method == "complex" else 1e-6
    wide = tree_map(lambda x: np.asarray(x, np.float64) if is_float(x) else x, primals)

    def phi(x):
        """<y_bar, f(x)>, its terms not yet summed over leaves: real, or complex for complex x."""
        terms = zip(_floats(y_bar), _floats_or_complex(f(*x), value))
        return sum(np.sum(np.asarray(b, np.float64) * y) for b, y in terms)

    flat, unravel = ravel(wide)
    got = ravel(tree_map(_fill, primals, x_bars))[0].astype(np.float64)
    places = _places(primals, most, rng)
    expected = {i: _derivative(phi, flat, unravel, i, method, step or 3e-4) for i, _ in places}
    scale = max((abs(e) for e in expected.values()), default=0.0)
    # a gradient that is zero up to rounding has no scale of its own: phi's rounding, divided by the
    # step, is then the measure
    floor = rtol * 1e-6 * (1 + abs(phi(wide)))
    slack = max(rtol * scale, floor) if atol is None else atol
    for i, where in places:
        if not abs(got[i] - expected[i]) <= slack + rtol * abs(expected[i]):
            raise GradientError(f"{name}: wrong cotangent of {where}: "
                                f"expected {expected[i]:.12g} ({method}), got {got[i]:.12g}")
    if not low:
        _check_taylor(name, phi, flat, unravel, got, rng)


# ---------------------------------------------------------------- the checks


def _same_value(name: str, recorded: Tree, plain: Tree) -> None:
    for (path, a), (_, b) in zip(tree_leaves(recorded), tree_leaves(plain)):
        if np.shape(a) != np.shape(b) or not np.array_equal(a, b, equal_nan=_is_float(b)):
            raise GradientError(f"{name}: the recorded value{path} differs from the plain one: "
                                f"expected {b!r}, got {a!r}")


def _check_structure(name, value, pullback, y_bar, primals):
    seed = stop_gradient(y_bar)
    x_bars = pullback(y_bar)
    for i, (primal, x_bar) in enumerate(zip(primals, x_bars)):
        for (path, x), (_, g) in zip(tree_leaves(primal), tree_leaves(x_bar)):
            where = f"argument {i}{path}"
            if not is_float(x):
                if g is not None:
                    raise GradientError(f"{name}: {where} is a constant: "
                                        f"expected cotangent None, got {g!r}")
                continue
            x = np.asarray(x)
            if g.shape != x.shape or g.dtype != x.dtype:
                raise GradientError(f"{name}: cotangent of {where}: expected shape {x.shape} "
                                    f"dtype {x.dtype}, got {g.shape} {g.dtype}")
            if not np.all(np.isfinite(g)):
                at = tuple(map(int, np.argwhere(~np.isfinite(g))[0]))
                raise GradientError(f"{name}: cotangent of {where} at index {at}: "
                                    f"expected a finite number, got {g[at]}")
    arrays = [*_floats(x_bars), *_floats(y_bar)]
    for i, a in enumerate(arrays):
        if any(np.shares_memory(a, b) for b in arrays[:i]):
            raise GradientError(f"{name}: returned cotangents share memory with each other or with "
                                f"the seed")
    if not _equal(seed, y_bar):
        raise GradientError(f"{name}: the pullback changed its seed")
    if not _equal(x_bars, pullback(y_bar)):
        raise GradientError(f"{name}: a second pullback of the same cotangent gives other bits")
    if any(np.any(g) for g in _floats(pullback(tree_map(lambda b: b * 0, y_bar)))):
        raise GradientError(f"{name}: the pullback of a zero cotangent is not zero")
    return x_bars


def _check_linear(name, value, pullback, y_bar, x_bars, rng):
    other = _random_like(value, rng)
    both = pullback(tree_map(lambda a, b: 2 * a - 3 * b, y_bar, other))
    for i, (a, b, c) in enumerate(zip(_floats(x_bars), _floats(pullback(other)), _floats(both))):
        expected = 2 * a - 3 * b
        size = np.max(np.abs(a), initial=0) + np.max(np.abs(b), initial=0) + 1e-6
        off = np.abs(c - expected) > (1e-3 if c.dtype.itemsize < 8 else 1e-9) * size
        if np.any(off):
            at = tuple(map(int, np.argwhere(off)[0]))
            raise GradientError(f"{name}: the pullback is not linear in the cotangent: leaf {i} at "
                                f"index {at}: expected {expected[at]}, got {c[at]}")


def _derivative(phi, flat, unravel, i, method, step):
    """d phi/d flat[i]."""
    if method == "complex":
        moved = flat.astype(complex)
        moved[i] += 1e-30j
        return float(np.imag(phi(_unravel_complex(moved, unravel))) / 1e-30)
    h = step * max(1.0, abs(flat[i]))

    def central(h):
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[i] += sign * h
            ends.append((moved[i], phi(unravel(moved))))
        # by the step that was made, not the one asked for
        return (ends[0][1] - ends[1][1]) / (ends[0][0] - ends[1][0])

    return float((4 * central(h) - central(2 * h)) / 3)


def _check_taylor(name, phi, flat, unravel, got, rng):
    """Remainders at h and h/2 along a random direction: a right gradient halves twice (rate 2), a
    wrong one once (rate 1)."""
    d = rng.standard_normal(flat.size)
    d /= max(1.0, np.max(np.abs(d)))
    base, slope = phi(unravel(flat)), got @ d
    rates = []
    for k in range(8, 14):
        h = 2.0**-k
        r = [abs(phi(unravel(flat + s * d)) - base - s * slope) for s in (h, h / 2)]
        floor = 1e-13 * (1 + abs(base) + float(np.sum(np.abs(got * d))))
        if r[1] > 100 * floor:
            rates.append(np.log2(r[0] / r[1]))
    if rates and np.median(rates) < 1.7:
        raise GradientError(f"{name}: Taylor remainder along a random direction: "
                            f"expected rate 2, got {np.median(rates):.2f}")


# ---------------------------------------------------------------- small helpers


def _is_float(x: Any) -> bool:
    return isinstance(x, float) or getattr(getattr(x, "dtype", None), "kind", "") == "f"


def _floats(tree: Tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for _, leaf in tree_leaves(tree) if _is_float(leaf)]


def _floats_or_complex(tree: Tree, like: Tree) -> list:
    both = zip(tree_leaves(tree), tree_leaves(like))
    return [leaf for (_, leaf), (_, ref) in both if _is_float(ref)]


def _random_like(tree: Tree, rng: np.random.Generator) -> Tree:
    def random(y: Any) -> Any:
        if not _is_float(y):
            return 0
        return rng.standard_normal(np.shape(y)).astype(np.asarray(y).dtype)

    return tree_map(random, tree)


def _as_recorded(x: Any) -> Any:
    """The same numbers lying as vjp lays them: the bits of a sum depend on that."""
    return np.array(x, order="C") if isinstance(x, np.ndarray) else x


def _fill(x: Any, x_bar: Any) -> Any:
    return x if x_bar is None else x_bar


def _equal(a: Tree, b: Tree) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(_floats(a), _floats(b)))


def _unravel_complex(flat: np.ndarray, unravel: Callable) -> Tree:
    """unravel restores real dtypes, so the two parts go through it one by one."""
    real, imaginary = unravel(flat.real.copy()), unravel(flat.imag.copy())
    return tree_map(lambda re, im: re + 1j * im if _is_float(re) else re, real, imaginary)


def _places(primals: tuple, most: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """(position in the flat vector, its name) of every element to check: all of a small leaf, a
    random choice of a large one."""
    places, start = [], 0
    for i, primal in enumerate(primals):
        for path, x in tree_leaves(primal):
            if not is_float(x):
                continue
            size, shape = int(np.size(x)), np.shape(x)
            chosen = range(size) if size <= most else np.sort(rng.choice(size, most, replace=False))
            for j in chosen:
                at = tuple(map(int, np.unravel_index(j, shape))) if shape else ()
                places.append((start + int(j), f"argument {i}{path} at index {at}"))
            start += size
    return places
