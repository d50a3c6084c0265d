"""The report on the four gradient modes: its parts add up, and each shows up where it was put."""
import warnings

import numpy as np
import pytest

from refvdm.ode import adjoint, gradient_report, solve
from refvdm.ode.report import PARTS


def field(z, t, theta):
    return -theta["k"] * (z - np.cos(t)) + theta["b"] * np.sin(2 * t) * z**2


THETA = {"k": np.array(2.0), "b": np.array([0.3, -0.2])}
Z0, TS = np.array([0.8, -0.5]), np.array([0.2, 0.9, 1.7])
BAR = np.array([[0.3, 1.0], [-0.4, 0.2], [1.1, -0.6]])


def flat(gradient):
    return np.concatenate([gradient.z0, [gradient.theta["k"]], gradient.theta["b"], gradient.ts])


def test_the_exact_gradient_and_every_error_are_what_they_say():
    """errors = |gradient - exact|/|exact|, the gradients those of `adjoint`,
    the exact one that of a far tighter run."""
    report = gradient_report(field, Z0, TS, THETA, BAR, rtol=1e-5, atol=1e-7)
    tight = adjoint(field, solve(field, Z0, TS, THETA, rtol=1e-12, atol=1e-14), BAR, mode="interpolated")
    np.testing.assert_allclose(flat(report.exact), flat(tight), rtol=1e-8)
    assert report.tolerance == pytest.approx(1e-9)
    solution, exact = solve(field, Z0, TS, THETA, rtol=1e-5, atol=1e-7), flat(report.exact)
    for mode, row in report.modes.items():
        own = adjoint(field, solution, BAR, mode=mode, trajectory=False)
        assert np.array_equal(flat(row.gradient), flat(own))
        assert row.error == pytest.approx(np.linalg.norm(flat(own) - exact) / np.linalg.norm(exact), rel=1e-12)
        assert row.stats == own.stats and row.gradient.trajectory is None
        assert 0 < row.error < 1e-3


def test_the_parts_bound_the_whole():
    """Differences of gradients that add up to a mode's error: its norm is at most the sum of theirs."""
    report = gradient_report(field, Z0, TS, THETA, BAR, method="rk4", step=0.1)
    expected = {"backsolve": PARTS, "interpolated": PARTS[:2], "discrete": PARTS[:1], "forward": PARTS[:1]}
    for mode, row in report.modes.items():
        assert set(row.parts) == set(expected[mode])
        assert row.error <= sum(row.parts.values()) * (1 + 1e-12)
    assert report.modes["discrete"].parts["forward solve"] == report.modes["discrete"].error
    assert report.modes["forward"].parts["forward solve"] == report.modes["forward"].error
    both = [report.modes[mode].parts for mode in ("backsolve", "interpolated")]
    assert both[0]["forward solve"] == both[1]["forward solve"]
    assert both[0]["adjoint quadrature"] == both[1]["adjoint quadrature"]


def test_an_error_shows_up_in_its_own_column():
    """Tighter steps lower forward solve and quadrature by the method's order;
    reconstruction alone grows when the field contracts."""
    coarse, fine = (gradient_report(field, Z0, TS, THETA, BAR, method="rk4", step=step).modes["interpolated"].parts
                    for step in (0.1, 0.05))
    for part in PARTS[:2]:
        assert 8 < coarse[part] / fine[part] < 40  # 2^4, and second order effects
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the report says it in numbers
        strong = gradient_report(lambda z, t, k: -k * (z - np.cos(t)), np.array([2.0]), [0.0, 1.0, 2.0], np.array(10.0),
                                 np.array([[0.3], [0.5], [1.0]]), method="rk4", step=0.1)
    parts = strong.modes["backsolve"].parts
    assert parts["reconstruction"] > 100 * max(parts["forward solve"], parts["adjoint quadrature"])


def test_it_prints_a_table_with_every_mode():
    report = gradient_report(field, Z0, TS, THETA, BAR)
    lines = str(report).splitlines()
    assert lines[0].startswith("Solution(dopri5, t from 0.2 to 1.7")
    assert all(part in lines[2] for part in PARTS)
    assert [line.split()[0] for line in lines[3:7]] == ["backsolve", "interpolated", "discrete", "forward"]
    assert lines[4].split()[1] == f"{report.modes['interpolated'].error:.1e}"
    assert lines[5].count(" - ") == 2
    assert "misses z0 by" in lines[7]


def test_a_mode_that_fails_is_a_line_and_not_the_end():
    """z' = -z^3 k backward blows up; the other modes are reported all the same."""
    report = gradient_report(lambda z, t, k: -k * z**3 * (2 + np.cos(t)), np.array([50.0]), [0.0, 3.0], np.array(1.0),
                             np.array([[0.0], [1.0]]), rtol=1e-3, atol=1e-3)
    row = report.modes["backsolve"]
    assert row.gradient is None and row.error == np.inf and "interpolated" in row.failure
    assert "backsolve     failed: on the way back" in str(report)
    assert report.modes["discrete"].gradient is not None


def test_float32_and_a_gradient_of_zero():
    theta = {name: leaf.astype(np.float32) for name, leaf in THETA.items()}
    report = gradient_report(field, Z0.astype(np.float32), TS, theta, BAR, rtol=1e-3, atol=1e-4)
    assert report.modes["discrete"].error < 0.02
    nothing = gradient_report(field, Z0, TS, THETA, 0 * BAR)
    assert all(row.error == 0 for row in nothing.modes.values())


def test_where_only_interpolated_fails_the_others_are_reported():
    """A step so long that its interpolant leaves the field's domain, which no stage has seen."""
    def f(z, t, k):
        return k * np.sqrt(z) * 70 * np.exp(-(((t - 0.1) / 0.01) ** 2))

    report = gradient_report(f, np.array([0.05]), [0.0, 0.1], 1.0, np.array([[0.0], [1.0]]),
                             method="midpoint", step=0.1)
    assert "not finite" in report.modes["interpolated"].failure
    assert report.modes["discrete"].gradient is not None and "discrete" in str(report)
