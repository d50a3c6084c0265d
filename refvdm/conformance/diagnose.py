"""Why an answer is wrong, in words: the mistake, or the two, with which the reference is wrong too.

Where none is, what can be said without one: a factor, a sign, an order, a precision, and where the
first number goes wrong.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from .operation import Arrays, Mistake, Operation
from .tolerance import Truth, error, truth, worst

LOWER = ("a method of lower order than it claims (halve your step: a fourth-order error falls 16 "
         "times)")
FORMULA = ", rather than another formula"
SAME = 1e-6  # relative: two numbers that tell one story


def explain(operation: Operation, truths: list[Truth], answers: list[Arrays],
            failed: list[int]) -> str:
    """The mistake, or the two, with which the reference gives the same wrong answers."""
    made = [_Made(operation, case, got) for case, got in zip(truths, answers)]
    every = tuple(operation.outputs)
    many, name, through = _best(operation, made, failed, every)
    if through:
        return f"{_all(failed, len(truths))} the reference if {name}"
    first = _first(truths[failed[0]], answers[failed[0]], failed[0])
    if many == len(failed):
        return (f"{_all(failed, len(truths))} the reference if {name}, though that would show "
                f"in what passes too; {first}")
    if many:
        return (f"{many} of the {len(failed)} that fail match the reference if {name}, the others "
                f"do not; {first}")
    if _single(operation, truths, answers, failed):
        why = (f", or the solver is asked for less than 1e-8, or {LOWER}" if operation.accuracy else
               " (dtype = \"float32\" in the adapter, to be judged so)")
        return ("no known mistake explains it; to float32's precision all agree: something inside "
                f"is float32{why}; {first}")
    parts = {}
    for output in every if len(every) > 1 else ():
        wrong = [i for i in failed if not made[i].agrees(output)]
        if wrong:
            many, name, _ = _best(operation, made, wrong, (output,))
            parts[output] = f"{output} matches if {name}" if many == len(wrong) else ""
    told = [part for part in parts.values() if part]
    unexplained = [output for output, part in parts.items() if not part] if told else list(every)
    seen = _seen([truths[i] for i in failed], [answers[i] for i in failed], unexplained,
                 operation.accuracy > 0)
    whole = "no one mistake explains it all" if told else "no known mistake explains it"
    more = [] if told else [_numbers(operation, failed[0])]
    return "; ".join([whole, *told, *seen, first, *more])


def _best(operation: Operation, made: list[_Made], failed: list[int],
          outputs: tuple[str, ...]) -> tuple[int, str, bool]:
    """How many of the failed cases the best mistake, or pair, makes; its name; whether it makes
    these outputs of all cases, also of those that pass."""
    many, best = 0, ""
    for mistakes in _suspects(operation, made[failed[0]], outputs):
        agree = sum(made[i].by(mistakes, outputs) for i in failed)
        if agree > many:
            many, best = agree, " and ".join(mistake.name for mistake in mistakes)
        if agree == len(failed) and all(made[i].by(mistakes, outputs) for i in range(len(made))
                                        if i not in failed):
            return many, " and ".join(mistake.name for mistake in mistakes), True
        if many == len(failed) and len(mistakes) == 2:
            break
    return many, best, False


def _all(failed: list[int], cases: int) -> str:
    if len(failed) == cases:
        return f"all {cases} match"
    return f"the {len(failed)} that fail" + ("s" if len(failed) == 1 else "") + " match" + (
        "es" if len(failed) == 1 else "")


def _suspects(operation: Operation, made: _Made,
              outputs: tuple[str, ...]) -> Iterator[tuple[Mistake, ...]]:
    """Every mistake, then the pairs of them that make the first wrong answer."""
    yield from ((mistake,) for mistake in operation.mistakes)
    for pair in itertools.combinations(operation.mistakes, 2):
        if made.by(pair, outputs):
            yield pair
        elif all(mistake.outputs for mistake in pair) and made.by(pair[::-1], outputs):
            yield pair[::-1]


class _Made:
    """Which mistakes make this answer. What they have in common is computed once."""

    def __init__(self, operation: Operation, case: Truth, got: Arrays):
        self.operation, self.case, self.got = operation, case, got
        self.begun: dict[tuple, tuple[Arrays, Arrays]] = {}

    def agrees(self, output: str) -> bool:
        """Whether this output is right."""
        return worst(error(*({output: x[output]} for x in (
            self.got, self.case.outputs, self.case.tolerances)))) <= 1

    def by(self, mistakes: tuple[Mistake, ...], outputs: tuple[str, ...]) -> bool:
        """Whether they make these outputs."""
        try:
            with np.errstate(all="ignore"):
                wrong = self._wrong(mistakes)
        except (ArithmeticError, IndexError, ValueError):  # a mistake that cannot be made here
            return False
        if any(np.shape(wrong[name]) != np.shape(self.got[name]) for name in outputs):
            return False
        wrong = {name: wrong[name] for name in outputs}
        return worst(error(self.got, wrong, self._wider(wrong))) <= 1

    def _wrong(self, mistakes: tuple[Mistake, ...]) -> Arrays:
        early = tuple(mistake for mistake in mistakes if mistake.inputs or mistake.instead)
        if early not in self.begun:
            self.begun[early] = self.operation.begin(self.case.inputs, early)
        outputs = self.operation.finish(*self.begun[early], mistakes)
        return {name: np.asarray(y) for name, y in outputs.items()}

    def _wider(self, wrong: Arrays) -> Arrays:
        """The tolerances, as wide for a number that is larger than the truth."""
        wider = {}
        for name in wrong:
            tolerance = self.case.tolerances[name]
            with np.errstate(all="ignore"):
                ratio = tolerance / np.abs(self.case.outputs[name])
            finite = ratio[np.isfinite(ratio)]
            typical = np.median(finite) if finite.size else 0.0
            wider[name] = (np.broadcast_to(tolerance, wrong[name].shape)
                           + typical * np.abs(wrong[name]))
        return wider


# ---------------------------------------------------------------- what is seen without a mistake


def _seen(truths: list[Truth], answers: list[Arrays], names: list[str],
          solved: bool) -> list[str]:
    """What is true of every wrong output of these names as a whole. solved: by a solver."""
    told = []
    for name in names:
        pairs = [(np.asarray(got[name], float), np.asarray(case.outputs[name], float))
                 for case, got in zip(truths, answers)]
        if all(worst({"": units}) <= 1 for units in (
                error(got, case.outputs, case.tolerances)[name]
                for case, got in zip(truths, answers))):
            continue
        near = all(_close(got, y) for got, y in pairs)
        for what in (_digits,) if near else (_factor, _constant, _signs, _order, _digits):
            if found := what(pairs):
                told.append(f"{name} {found}".replace(
                    FORMULA, f", or {LOWER}" if solved else FORMULA))
                break
    return told


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(a))) and np.allclose(a, b, rtol=SAME, atol=SAME * _largest(b))


def _largest(y: np.ndarray) -> float:
    return float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y)))


def _factor(pairs: list) -> str:
    factors = []
    for got, y in pairs:
        at = np.unravel_index(np.argmax(np.abs(y)), y.shape) if y.size else None
        if at is None or y[at] == 0 or not _close(got, got[at] / y[at] * y):
            return ""
        factors.append(got[at] / y[at])
    if np.allclose(factors, 1, rtol=0, atol=1e-3):
        return ""  # a matter of digits
    if np.ptp(factors) <= SAME * abs(factors[0]):
        return f"is {factors[0]:.6g} times what it should be, everywhere"
    if any(y.size > 1 for _, y in pairs):
        return "is a factor off, another in every case: " + ", ".join(
            f"{factor:.6g}" for factor in factors[:4])
    return ""


def _constant(pairs: list) -> str:
    shifts = [np.ravel(got - y)[0] if y.size > 1 else np.nan for got, y in pairs]
    if all(abs(c) > 1e-3 * _largest(y) and _close(got, y + c)
           for (got, y), c in zip(pairs, shifts)):
        return f"is a constant off, in the first case {shifts[0]:.6g}"
    return ""


def _signs(pairs: list) -> str:
    same = all(_close(np.abs(got), np.abs(y)) for got, y in pairs)
    return "is right but for the signs of some" if same else ""


def _order(pairs: list) -> str:
    same = all(_close(np.sort(np.ravel(got)), np.sort(np.ravel(y))) for got, y in pairs)
    return "holds the right numbers in another order" if same else ""


def _digits(pairs: list) -> str:
    """Where it is a matter of precision, not of a formula."""
    off = max(_largest(got - y) / max(_largest(y), 1e-300) if np.all(np.isfinite(got)) else np.inf
              for got, y in pairs)
    if off < 1e-3:
        why = ("float32 somewhere, as in 1 - ᾱ from a rounded ᾱ" if off < 1e-6 else
               "an approximation, a solver's tolerance or a small constant (an epsilon)"
               + FORMULA)
        return f"agrees to {-np.log10(max(off, 1e-16)):.1f} digits of its largest number: {why}"
    return ""


def _single(operation: Operation, truths: list[Truth], answers: list[Arrays],
            failed: list[int]) -> bool:
    """Whether what fails would pass if the inputs had been float32."""
    for i in failed:
        wide = truth(operation, truths[i].inputs, np.float32)
        if worst(error(answers[i], truths[i].outputs, wide.tolerances)) > 1:
            return False
    return True


def _apart(x: float, y: float) -> tuple[str, str]:
    """Both with six digits, or with so many that they differ."""
    digits = next((n for n in range(6, 17) if f"{x:.{n}g}" != f"{y:.{n}g}"), 17)
    return f"{x:.{digits}g}", f"{y:.{digits}g}"


def _numbers(operation: Operation, index: int) -> str:
    """How to get at what a failed case should be."""
    return (f"the reference's numbers of case {index}: from refvdm.conformance import OPERATIONS; "
            f'op = OPERATIONS["{operation.name}"]; op.answer(op.fixed_cases()[{index}])')


def _first(case: Truth, got: Arrays, index: int) -> str:
    """Where the first failed case goes wrong."""
    errors, parts = error(got, case.outputs, case.tolerances), []
    for name, units in errors.items():
        wrong = np.argwhere(np.atleast_1d(units) > 1)
        if not len(wrong):
            parts.append(f"{name} agrees")
            continue
        place = tuple(int(i) for i in wrong[0]) if np.ndim(units) else ()
        x, y = np.asarray(got[name])[place], case.outputs[name][place]
        got_text, y_text = _apart(float(x), float(y))
        size = (f"{np.asarray(units)[place]:.3g} tolerances" if not np.isnan(x) else
                "the logarithm or the root of a negative number?")
        parts.append(f"{name}{list(place) if place else ''} is {got_text}, should be {y_text} "
                     f"({size}; {len(wrong)} of {np.size(units)} numbers differ)")
    return f"case {index}: " + ", ".join(parts)
