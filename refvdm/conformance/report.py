"""Running an adapter over the operations, and what is shown of it."""
from __future__ import annotations

import fnmatch
import hashlib
import json
import platform
import textwrap
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__, checks
from .adapter import Module, WrongAnswer, of_shape
from .judge import ERROR, FAIL, MISSING, PASS, Verdict, judge
from .operation import REGISTER, Operation
from .tolerance import Truth, truth


class Report(NamedTuple):
    """What `check` returns: the verdicts in the operations' order; `status` is the exit status,
    `table()` what a terminal shows, `json()` what a machine reads.

    >>> from refvdm.conformance import check
    >>> class Mine:
    ...     @staticmethod
    ...     def q_step(x_prev, betas, t):
    ...         alpha = 1 - betas[t - 1]
    ...         return {"mean": np.sqrt(alpha)[:, None] * x_prev, "var": 1 - alpha}
    >>> report = check(Mine, only=["q_step"])
    >>> report.status, [verdict.name for verdict in report.verdicts]
    (0, ['q_step'])
    """

    verdicts: list[Verdict]
    expected_to_fail: frozenset[str] = frozenset()

    @property
    def status(self) -> int:
        """The exit status: 0 when all that is implemented passes, 1 when something fails, 2 when
        nothing could be compared."""
        bad = {v.name for v in self.verdicts if v.status in (FAIL, ERROR)}
        passed = {v.name for v in self.verdicts if v.status == PASS}
        if not bad and not passed:
            return 2
        return 1 if bad - self.expected_to_fail or passed & self.expected_to_fail else 0

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """For a terminal, 100 columns."""
        stated = any(np.isfinite(v.tolerance) for v in self.verdicts)  # not so for whole objects
        lines = [("operation                  result           cases that agree "
                 "worst error/tolerance" + "  tolerance" * stated)]
        for v in self.verdicts:
            if v.status == MISSING:
                lines.append(f"{v.name:26s} {v.status:16s}")
                continue
            cases = f"{v.cases - v.failed} of {v.cases}" if v.cases else ""
            note = " (expected)" if v.name in self.expected_to_fail else ""
            size = "" if v.status == ERROR else f"{v.worst:21.2g}"
            size += f" {v.tolerance:10.1g}" if size and stated else ""
            lines.append(f"{v.name:26s} {v.status + note:16s} {cases:>16s} {size}".rstrip())
            if v.why:
                lines += textwrap.wrap(v.why, 96, initial_indent="    ", subsequent_indent="    ")
        if any(v.status in (PASS, FAIL) for v in self.verdicts):
            lines += ["", LEGEND if stated else "An error of up to 1 tolerance agrees."]
        return "\n".join([*lines, "", self.summary()])

    def summary(self) -> str:
        """How many of each, and of what this is a report."""
        counts = {kind: sum(v.status == kind for v in self.verdicts)
                  for kind in (PASS, FAIL, ERROR, MISSING)}
        made = ", ".join(f"{name} {what}" for name, what in versions().items())
        return ", ".join(f"{n} {kind}" for kind, n in counts.items()) + f"\n{made}"

    def json(self, **header: Any) -> str:
        """For a machine: the same, with the verdicts' fields by their names."""
        rows = [{key: x if not isinstance(x, float) or np.isfinite(x) else str(x)
                 for key, x in v._asdict().items()}
                | {"expected_to_fail": v.name in self.expected_to_fail} for v in self.verdicts]
        return json.dumps({**header, **versions(), "verdicts": rows, "status": self.status},
                          indent=1)


LEGEND = """\
An error of up to 1 tolerance agrees. The last column is the tolerance of a typical number, relative
to it: it follows from dtype, conditioning and size (see help("refvdm.conformance.tolerance"))."""


def versions() -> dict[str, str]:
    """Of refvdm, NumPy, Python, and a digest of the cases with their answers."""
    return {"refvdm": __version__, "numpy": np.__version__, "python": platform.python_version(),
            "vectors": digest()}


def digest() -> str:
    """The first 12 hex digits of SHA-256 of the vectors' SHA256SUMS: of every case and answer."""
    sums = Path(__file__).with_name("data") / "SHA256SUMS"
    return hashlib.sha256(sums.read_bytes()).hexdigest()[:12]


def check(adapter: Any, *, only: Iterable[str] = ("*",), skip: Iterable[str] = (),
          expect_fail: Iterable[str] = (), truths: dict[str, list[Truth]] | None = None) -> Report:
    """The report on an adapter: a module, a class or any object that has functions of some of the
    operations' names. only, skip, expect_fail: patterns of names, as the shell's (`ddim_*`).
    truths: cases by operation (vectors.read); made anew unless given.

    >>> from refvdm.conformance import check
    >>> class Mine:
    ...     @staticmethod
    ...     def gaussian_kl(mean_q, var_q, mean_p, var_p):  # log_var where the variance is meant
    ...         d, apart = var_q - var_p, (mean_q - mean_p) ** 2 / np.exp(var_p)
    ...         return np.sum(0.5 * (np.exp(d) - 1 - d + apart), axis=-1)
    >>> report = check(Mine, only=["gaussian_kl"])
    >>> report.status, "log-variance" in report.table()
    (1, True)
    """
    only, skip, expect_fail = (checks.words(f"check: {name}", patterns) for name, patterns in (
        ("only", only), ("skip", skip), ("expect_fail", expect_fail)))
    adapter = adapter if hasattr(adapter, "answer") else Module(adapter)
    chosen = [operation for name, operation in REGISTER.items()
              if _matches(name, only) and not _matches(name, skip)]
    for pattern in {*only, *skip, *expect_fail} - {"*"}:
        if not fnmatch.filter(REGISTER, pattern):
            warnings.warn(f"no operation matches {pattern!r}", stacklevel=2)
    failing = frozenset(name for name in REGISTER if _matches(name, expect_fail))
    known = truths or {}
    verdicts = [run(adapter, operation, known.get(operation.name)) for operation in chosen]
    return Report(_first_things_first(verdicts), failing)


MADE_OF = {  # whose mistakes another operation shows too
    "plu_inverse": ("plu_forward",), "plu_vjp": ("plu_forward",), "mlp_vjp": ("mlp",),
    "odeint": ("rk4",), "odeint_gradients": ("odeint",),
    "odeint_grid_gradients": ("odeint",), "posterior_log_variance": ("schedule_tables",),
    "q_posterior": ("schedule_tables",),
    "q_marginal": ("schedule_tables",), "kl_t": ("schedule_tables",), "prior_kl": ("q_marginal",),
    "kl_t_any_variance": ("q_posterior", "gaussian_kl"), "reverse_step": ("q_posterior",),
    "training_loss": ("q_marginal", "kl_t"), "ddim_step": ("schedule_tables",),
    "ddim_run": ("ddim_step",), "hvae_elbo": ("gaussian_log_density",),
    **dict.fromkeys(("elbo", "elbo_network", "elbo_gradient", "elbo_network_gradient"),
                    ("q_marginal", "kl_t", "prior_kl"))}


def _first_things_first(verdicts: list[Verdict]) -> list[Verdict]:
    """With a word at what no mistake explains, when a part of it fails as well."""
    failed = {v.name for v in verdicts if v.status in (FAIL, ERROR)}
    told = []
    for v in verdicts:
        parts = [name for name in MADE_OF.get(v.name, ()) if name in failed]
        if v.status == FAIL and parts and v.why.startswith("no "):
            v = v._replace(why=f"mend {' and '.join(parts)} first; {v.why}")
        told.append(v)
    return told


def run(adapter: Any, operation: Operation, truths: list[Truth] | None = None) -> Verdict:
    """The verdict on one operation. Nothing that an adapter does gets past it."""
    if not adapter.has(operation):
        return Verdict(operation.name, MISSING, 0, 0, np.nan, "")
    if truths is None:
        truths = [truth(operation, case, adapter.dtype)
                  for case in operation.fixed_cases(adapter.dtype)]
    answers = []
    for i, case in enumerate(truths):
        try:
            got = adapter.answer(operation, case.inputs)
            answers.append({name: of_shape(f"{operation.name}: {name}", y, case.outputs[name])
                            for name, y in got.items()})
        except NotImplementedError:
            return Verdict(operation.name, MISSING, 0, 0, np.nan, "")
        except WrongAnswer as error:
            return Verdict(operation.name, ERROR, len(truths), len(truths), np.inf,
                           f"case {i}: {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever somebody's code does
            return Verdict(operation.name, ERROR, len(truths), len(truths), np.inf,
                           f"case {i}: {type(error).__name__}: {error}")
    return judge(operation, truths, answers)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def implemented(adapter: Any) -> list[str]:
    """The names of the operations that an adapter has.

    >>> from refvdm.conformance import implemented
    >>> class Mine:
    ...     @staticmethod
    ...     def q_step(x_prev, betas, t): ...
    >>> implemented(Mine)
    ['q_step']
    """
    adapter = adapter if hasattr(adapter, "answer") else Module(adapter)
    return [name for name, operation in REGISTER.items() if adapter.has(operation)]


def pytest_function(adapter: Any) -> Callable:
    """A test for pytest, parametrised by what the adapter has. In a test file of your own:

        import my_adapter
        from refvdm.conformance import pytest_function
        test_conformance = pytest_function(my_adapter)

    >>> from refvdm.conformance import pytest_function
    >>> class Mine:
    ...     @staticmethod
    ...     def q_step(x_prev, betas, t): ...
    >>> pytest_function(Mine).__name__
    'test_conformance'
    """
    import pytest

    @pytest.mark.parametrize("operation", implemented(adapter))
    def test_conformance(operation: str) -> None:
        (verdict,) = check(adapter, only=[operation]).verdicts
        if verdict.status == MISSING:
            pytest.skip("not implemented")
        if verdict.status != PASS:
            pytest.fail(f"{verdict.name}: {verdict.failed} of {verdict.cases} cases, worst error "
                        f"{verdict.worst:.3g} tolerances: {verdict.why}", pytrace=False)
    return test_conformance
