"""Step policies: SciPy's steps bit for bit, the other libraries' counts, and every rule of every policy by itself."""
import inspect
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.integrate._ivp.common import select_initial_step

from refvdm.ode import METHODS, solve
from refvdm.ode.controller import (
    CONTROLLERS,
    Controller,
    Diffrax,
    Jax,
    Scipy,
    Torchdiffeq,
    l2,
    rms,
)

ECCENTRICITY = 0.9
SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]])
DOPRI5, BOSH3 = METHODS["dopri5"], METHODS["bosh3"]
THEIR_NAMES = {"dopri5": "RK45", "bosh3": "RK23"}
TRYING = (Torchdiffeq, Jax)


def orbit(z, t, theta):
    return np.concatenate([z[2:], -z[:2] / (z[0] ** 2 + z[1] ** 2) ** 1.5])


ORBIT_START = np.array([1 - ECCENTRICITY, 0, 0, math.sqrt((1 + ECCENTRICITY) / (1 - ECCENTRICITY))])
# name -> f(z, t, theta), z0, t0, t1
PROBLEMS = {
    "orbit": (orbit, ORBIT_START, 0, 6.5),
    "orbit backward": (orbit, ORBIT_START, 3, -2),
    "spiral": (lambda z, t, theta: z**3 @ SPIRAL, np.array([2.0, 0.0]), 0, 8),
    "non-autonomous": (lambda z, t, theta: np.cos(5 * t) * z - 0.1 * z**2 + np.array([t, 1 - t, t * t]),
                       np.array([1.0, -2, 0]), -1, 4),
    "non-autonomous backward": (lambda z, t, theta: np.sin(3 * t) * z + t, np.array([0.5, 3.0]), 10, 0),
    "van der pol": (lambda z, t, theta: np.array([z[1], 40 * (1 - z[0] ** 2) * z[1] - z[0]]),
                    np.array([2.0, 0.0]), 0, 30),
    "stiff linear": (lambda z, t, theta: -200 * (z - np.cos(t)), np.array([0.0]), 0, 1),
    "domain left by trial steps": (lambda z, t, theta: np.sqrt(1 - z), np.array([0.0]), 0, 1.9),
    "quadratic": (lambda z, t, theta: np.array([2.0, t + 0 * z[0]]), np.array([1.0, 2.0]), 0, 40),
    "constant field": (lambda z, t, theta: np.ones_like(z), np.array([1.0, 2.0]), 1, -3),
    "constant field from zero": (lambda z, t, theta: np.full_like(z, 2.0), np.array([0.0]), 0, 3),
    "zero field": (lambda z, t, theta: np.zeros_like(z), np.array([1.0, 0.0]), 0, 5),
    "wakes up late": (lambda z, t, theta: np.where(t > 2, 50.0 * np.sin(40 * t), 0.0) * np.ones_like(z),
                      np.array([0.0]), 0, 5),
    "very short": (lambda z, t, theta: -z, np.array([1.0]), 0, 1e-9),
    "far from zero": (lambda z, t, theta: np.sin(z), np.array([1.0]), 1e9, 1e9 + 1),
}


def assert_steps_are_scipys(f, z0, t0, t1, method, rtol, atol):
    ours = solve(f, z0, [t0, t1], method=method, rtol=rtol, atol=atol)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = solve_ivp(lambda t, z: f(z, t, ()), (t0, t1), z0, method=THEIR_NAMES[method], rtol=rtol, atol=atol)
    assert theirs.success
    assert np.array_equal(ours.t, theirs.t) and ours.stats.nfev == theirs.nfev
    assert np.array_equal(ours.zs[-1], theirs.y[:, -1])
    return ours.stats


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("method", THEIR_NAMES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_scipys_steps_to_the_last_bit(problem, method, tolerance):
    """controller="scipy": the times, the count of evaluations and the last value are those of solve_ivp,
    without a tolerance."""
    if method == "bosh3" and tolerance < 1e-4:
        tolerance = 1e-6
    stats = assert_steps_are_scipys(*PROBLEMS[problem], method, tolerance, tolerance / 100)
    if problem in ("van der pol", "domain left by trial steps", "wakes up late"):
        assert stats.rejected > 0


numbers = st.floats(-2, 2, allow_subnormal=False)
# older SciPys do not cap their first step by the length of the interval; the problems above do not come near it
CAPS_ITS_FIRST_STEP = "t_bound" in inspect.signature(select_initial_step).parameters


@pytest.mark.skipif(not CAPS_ITS_FIRST_STEP, reason="this SciPy chooses another first step on short intervals")
@given(st.lists(numbers, min_size=9, max_size=9), st.lists(numbers, min_size=3, max_size=3), numbers,
       st.floats(0.01, 6, allow_subnormal=False), st.sampled_from([-1, 1]),
       st.floats(-9, -1, allow_subnormal=False), st.sampled_from(list(THEIR_NAMES)))
def test_scipys_steps_on_random_problems(entries, z0, t0, length, sign, exponent, method):
    """The same for z' = tanh(z W) + cos(3t) z with random W, z0, times, tolerance and direction."""
    W, rtol = np.array(entries).reshape(3, 3), 10 ** (exponent / (2 if method == "bosh3" else 1))
    assert_steps_are_scipys(lambda z, t, theta: np.tanh(z @ W) + np.cos(3 * t) * z, np.array(z0), t0,
                            t0 + sign * length, method, rtol, rtol / 50)


@pytest.mark.parametrize("method", THEIR_NAMES)
def test_scipys_steps_where_norms_survive_only_as_infinities(method):
    """A slope whose scaled square overflows makes the first step 0, which SciPy raises to the smallest one:
    the same steps."""
    assert_steps_are_scipys(lambda z, t, theta: np.array([0.0, 1e170]), np.array([1.0, 1.0]), 0, 1, method, 1e-6, 1e-9)


COUNTS = [  # accepted, rejected at rtol 1e-3 and 1e-6, as the libraries themselves count them
    ("orbit", "scipy", (68, 20), (210, 70)), ("orbit", "torchdiffeq", (60, 25), (195, 69)),
    ("orbit", "jax", (60, 25), (195, 69)), ("orbit", "diffrax", (61, 25), (192, 71)),
    ("spiral", "scipy", (57, 18), (231, 54)), ("spiral", "torchdiffeq", (55, 18), (210, 54)),
    ("spiral", "jax", (55, 18), (210, 54)), ("spiral", "diffrax", (52, 17), (208, 55)),
]


@pytest.mark.parametrize("problem, controller, coarse, fine", COUNTS, ids=[f"{row[0]}-{row[1]}" for row in COUNTS])
def test_counts_of_each_library(problem, controller, coarse, fine):
    """DETEST's D5, a two-body orbit of eccentricity 0.9 on [0, 20], and the cubic spiral on [0, 25], atol = rtol/1000.

    nfev = 2 + 6 (accepted + rejected) where the first step costs two evaluations;
    diffrax's costs none beyond f(t0, z0).
    """
    f, z0, _, _ = PROBLEMS[problem]
    for rtol, expected in ((1e-3, coarse), (1e-6, fine)):
        stats = solve(f, z0, [0, 20 if problem == "orbit" else 25],
                      rtol=rtol, atol=rtol / 1000, controller=controller).stats
        assert (stats.accepted, stats.rejected) == expected
        assert stats.nfev == (1 if controller == "diffrax" else 2) + 6 * sum(expected) and stats.nvjp == 0


# ---------------------------------------------------------------- the rules, one at a time


def test_registry():
    """Each policy under its library's name; the class they share has no bounds of its own."""
    assert CONTROLLERS == {"scipy": Scipy, "torchdiffeq": Torchdiffeq, "jax": Jax, "diffrax": Diffrax}
    with pytest.raises(NotImplementedError):
        Controller(0.0, 1.0, DOPRI5).factor(0.5, True, False)


def test_norms():
    """rms² n = l2² = sum of squares."""
    x = np.array([3.0, 4.0, 0.0, 0.0])
    assert rms(x) == 2.5 and l2(x) == 5.0
    assert [cls.norm_of_the_start(x) for cls in (Scipy, Torchdiffeq, Jax, Diffrax)] == [2.5, 2.5, 5.0, 2.5]


@pytest.mark.parametrize("tableau, exponent", [(DOPRI5, -1 / 5), (BOSH3, -1 / 3)])
def test_direction_exponent_and_error_weights(tableau, exponent):
    """The exponent is -1/(error_order + 1), the direction the sign of t1 - t0, e SciPy's own or everyone else's."""
    weights = tableau.weights(np.float64)
    for name, cls in CONTROLLERS.items():
        forward, backward = cls(0.0, 2.0, tableau), cls(2.0, 0.0, tableau)
        assert (forward.direction, backward.direction, forward.exponent) == (1.0, -1.0, exponent)
        assert cls(1.0, 1.0, tableau).direction == 1.0 and forward.counted is None
        assert forward.error_weights(weights) is (weights.e if name == "scipy" else weights.e_1986)


def test_error_ratio_is_the_rms_over_the_counted_elements():
    """rms(error / (atol + rtol max(|y|, |y_new|))), by hand: scales 0.1 + 0.5 (2, 4, 6) = 1.1, 2.1, 3.1."""
    y, y_new, error = np.array([-2.0, 1.0, 6.0]), np.array([1.0, -4.0, 5.0]), np.array([1.1, 4.2, -9.3])
    assert math.isclose(Controller(0, 1, DOPRI5).error_ratio(error, y, y_new, 0.5, 0.1), math.sqrt((1 + 4 + 9) / 3),
                        rel_tol=1e-15)
    assert math.isclose(Controller(0, 1, DOPRI5, 2).error_ratio(error, y, y_new, 0.5, 0.1), math.sqrt((1 + 4) / 2),
                        rel_tol=1e-15)
    assert y.tolist() == [-2, 1, 6] and error.tolist() == [1.1, 4.2, -9.3]


def test_what_an_error_ratio_of_one_means():
    """SciPy and diffrax reject r = 1, torchdiffeq and jax accept it; nan is rejected by all."""
    for cls in CONTROLLERS.values():
        policy, below, above = cls(0.0, 1.0, DOPRI5), math.nextafter(1, 0), math.nextafter(1, 2)
        assert policy.accepts(below) and policy.accepts(0.0) and not policy.accepts(above)
        assert policy.accepts(1.0) == (cls in TRYING)
        assert not policy.accepts(math.nan) and not policy.accepts(math.inf)
    assert [cls(0.0, 1.0, DOPRI5).factor(1.0, True, False) for cls in TRYING] == [0.9, 0.9]


@pytest.mark.parametrize("cls", CONTROLLERS.values())
def test_factors_of_not_finite_and_of_zero(cls):
    """nan and inf: a fifth. r = 0: ten times, except that SciPy does not grow right after a rejection."""
    policy = cls(0.0, 1.0, DOPRI5)
    for retry in (False, True):
        assert policy.factor(math.nan, False, retry) == policy.factor(math.inf, False, retry) == 0.2
    assert policy.factor(0.0, True, False) == 10
    assert policy.factor(0.0, True, True) == (1 if cls is Scipy else 10)


@pytest.mark.parametrize("tableau, power", [(DOPRI5, 5), (BOSH3, 3)])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_factors_and_their_bounds(name, tableau, power):
    """0.9 r^(-1/power), at most 10, at least 0.2; r is chosen so that the factor before the bounds is known."""
    policy = CONTROLLERS[name](0.0, 1.0, tableau)

    def factor(wanted, accepted, retry=False):
        return policy.factor((0.9 / wanted) ** power, accepted, retry)

    for accepted, wanted in ((True, 3.0), (True, 9.9), (False, 0.5), (False, 0.21)):
        assert math.isclose(factor(wanted, accepted), wanted, rel_tol=1e-12)
        assert math.isclose(factor(wanted, accepted, not accepted), wanted, rel_tol=1e-12)
    assert factor(50.0, True) == 10 and factor(0.05, False) == 0.2
    # just accepted: SciPy shrinks by up to 0.9, the others stay
    assert math.isclose(factor(0.95, True), 0.95 if name == "scipy" else 1.0, rel_tol=1e-12)
    # accepted after a rejection: only SciPy refuses to grow
    assert math.isclose(factor(3.0, True, True), 1.0 if name == "scipy" else 3.0, rel_tol=1e-12)
    assert math.isclose(factor(0.95, True, True), 0.95 if name == "scipy" else 1.0, rel_tol=1e-12)
    assert math.isclose(factor(0.9, False, True), 0.9, rel_tol=1e-12)
    if name == "diffrax":  # would not grow even if a rejected step said so
        assert factor(0.95, False) == 0.9 and factor(2.0, False) == 0.9


def test_next_step_of_the_policies_that_run_over_the_end():
    """torchdiffeq and jax: t + h whatever the end."""
    for cls in TRYING:
        for retry in (False, True):
            assert cls(0.0, 1.0, DOPRI5).next_step(0.5, 2.0, retry) == (2.5, 2.0)
            assert cls(1.0, 0.0, DOPRI5).next_step(0.5, 2.0, retry) == (-1.5, -2.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_next_step_of_scipy(sign):
    """t + h, cut at the end; a proposal below ten spacings of t in the direction of time is raised,
    a rejection to it fails."""
    policy = Scipy(0.0, sign * 8.0, DOPRI5)
    assert policy.next_step(sign * 4.0, 0.5, False) == (sign * 4.5, sign * 0.5)
    assert policy.next_step(sign * 4.0, 4.0, False) == (sign * 8.0, sign * 4.0)
    assert policy.next_step(sign * 4.0, 4.5, True) == (sign * 8.0, sign * 4.0)
    smallest = 10 * np.spacing(4.0)
    assert policy.next_step(sign * 4.0, smallest / 10, False) == (sign * (4 + smallest), sign * smallest)
    assert policy.next_step(sign * 4.0, smallest, True) == (sign * (4 + smallest), sign * smallest)
    assert policy.next_step(sign * 4.0, math.nextafter(smallest, 0), True) == (sign * 4.0, 0.0)
    below = 10 * np.spacing(2.0)  # towards zero the spacing just below 4 is that of 2
    back = Scipy(sign * 8.0, 0.0, DOPRI5)
    assert back.next_step(sign * 4.0, below, True) == (sign * (4 - below), -sign * below)
    assert back.next_step(sign * 4.0, math.nextafter(below, 0), True) == (sign * 4.0, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_next_step_of_diffrax(sign):
    """Beyond 100 ulp before the end: to the end, or half of the way there after a rejection;
    exactly at 100 ulp: as it is."""
    policy = Diffrax(0.0, sign * 3.0, DOPRI5)
    ulp = np.spacing(2.5)
    assert policy.near_the_end == sign * (3 - 100 * ulp)
    assert Diffrax(-sign * 3.0, -sign * 1.5, DOPRI5).near_the_end == -sign * (1.5 + 100 * np.spacing(1.5))
    assert policy.next_step(sign * 1.0, 0.5, False) == (sign * 1.5, sign * 0.5)
    assert policy.next_step(sign * 1.0, 0.5, True) == (sign * 1.5, sign * 0.5)
    assert policy.next_step(sign * 1.0, 5.0, False) == (sign * 3.0, sign * 2.0)
    assert policy.next_step(sign * 1.0, 5.0, True) == (sign * 2.0, sign * 1.0)
    for n, expected in ((100, 3 - 100 * ulp), (99, 3.0), (1, 3.0), (101, 3 - 101 * ulp)):
        assert policy.next_step(sign * 2.5, 0.5 - n * ulp, False)[0] == sign * expected
    assert policy.next_step(sign * 2.5, 0.5 - 99 * ulp, True) == (sign * 2.75, sign * 0.25)


# ---------------------------------------------------------------- the first step


def first_step(cls, f, y, rtol=0.5, atol=1.0, t0=0.0, t1=100.0, tableau=DOPRI5, counted=None):
    """The first step, and the points (t, y) where it looked at f besides the start."""
    looked = []

    def probe(t, y):
        looked.append((t, y.copy()))
        return np.asarray(f(t, y), float)

    y = np.asarray(y, float)
    return cls(t0, t1, tableau, counted).first_step(probe, y, np.asarray(f(t0, y), float), rtol, atol), looked


@pytest.mark.parametrize("cls, n", [(Scipy, 1), (Torchdiffeq, 1), (Jax, 4)])
def test_first_step_by_hand(cls, n):
    """y = 2, y' = 4 + 100 t, scale 1 + 2/2 = 2: d0 = 1, d1 = 2, h0 = 1/200, d2 = 50, so h = (0.01/50)^(1/5);
    for four such elements jax's norm doubles d1 and d2 but not h0."""
    d2 = 50 * math.sqrt(n)
    h, looked = first_step(cls, lambda t, y: np.full(n, 4 + 100 * t), np.full(n, 2.0))
    assert math.isclose(h, (0.01 / d2) ** 0.2, rel_tol=1e-12)
    assert len(looked) == 1 and looked[0][0] == 0.005 and np.allclose(looked[0][1], 2 + 0.005 * 4, rtol=1e-15)
    h, _ = first_step(cls, lambda t, y: np.full(n, 4 + 100 * t), np.full(n, 2.0), tableau=BOSH3)
    assert math.isclose(h, (0.01 / d2) ** (1 / 3), rel_tol=1e-12)
    h, looked = first_step(cls, lambda t, y: np.full(n, 4 + 100 * t), np.full(n, 2.0), t1=-100.0)
    assert math.isclose(h, (0.01 / d2) ** 0.2, rel_tol=1e-12) and looked[0][0] == -0.005
    assert np.allclose(looked[0][1], 2 - 0.02)


def test_first_step_looks_only_at_the_counted_elements():
    """With counted = 1 the second element, however wild, changes nothing."""
    tame = first_step(Scipy, lambda t, y: np.array([4 + 100 * t]), [2.0])[0]
    wild = first_step(Scipy, lambda t, y: np.array([4 + 100 * t, 1e6 * np.cos(1e5 * t)]), [2.0, 1e3], counted=1)[0]
    assert wild == tame


@pytest.mark.parametrize("cls", [Scipy, Torchdiffeq, Jax])
def test_branches_of_the_first_step(cls):
    """d0 or d1 below 1e-5: h0 = 1e-6. d1 and d2 at most 1e-15: h1 = max(1e-6, h0/1000). Never more than 100 h0."""
    def look(f, y, **options):
        h, [(t, _)] = first_step(cls, f, y, rtol=1e-300, atol=1.0, **options)
        return h, t

    assert look(lambda t, y: [1.0], [0.9e-5]) == (100 * 1e-6, 1e-6)  # d0 too small
    assert look(lambda t, y: [1.0], [1e-5])[1] == 0.01 * 1e-5  # just not
    assert look(lambda t, y: [0.9e-5], [1.0]) == (100 * 1e-6, 1e-6)  # d1 too small
    assert look(lambda t, y: [1e-5], [1.0], t1=1e9)[1] == 0.01 / 1e-5  # just not
    assert look(lambda t, y: [0.0], [1.0]) == (1e-6, 1e-6)  # nothing moves: max(1e-6, h0/1000)
    assert look(lambda t, y: [1e-15], [1.0]) == (1e-6, 1e-6)
    assert look(lambda t, y: [1.5e-15], [1.0]) == (100 * 1e-6, 1e-6)  # (0.01/1.5e-15)^(1/5) is longer than 100 h0
    assert look(lambda t, y: [0.0 if t == 0 else 1.5e-21], [1.0]) == (100 * 1e-6, 1e-6)  # d2 = 1.5e-15
    assert look(lambda t, y: [0.0 if t == 0 else 0.9e-21], [1.0]) == (1e-6, 1e-6)
    h, t = look(lambda t, y: [math.nan if t else 4.0], [1.0])  # d2 = nan: d1 decides
    assert t == 0.0025 and math.isclose(h, min(0.25, (0.01 / 4) ** 0.2), rel_tol=1e-12)


def test_only_scipy_caps_the_first_step():
    """SciPy's h0 and h are at most the interval; torchdiffeq and jax look beyond it;
    diffrax's first step is 0.01, for nothing."""
    for cls in (Scipy, *TRYING):
        _, looked = first_step(cls, lambda t, y: [1.0], [100.0], rtol=1e-9, t0=5.0, t1=5.5)
        assert looked[0][0] == (5.5 if cls is Scipy else 6.0)
        h, _ = first_step(cls, lambda t, y: [1e-4], [1.0], rtol=1e-9, t0=5.0, t1=5.5)
        assert h == 0.5 if cls is Scipy else math.isclose(h, 100**0.2, rel_tol=1e-6)
        assert first_step(cls, lambda t, y: [0.0], [1.0], t1=-1e-7)[0] == (1e-7 if cls is Scipy else 1e-6)
    assert first_step(Diffrax, lambda t, y: [1.0], [1.0]) == (0.01, [])


@pytest.mark.parametrize("f0, f1, y0", [(0.0, math.nan, 0.0), (1e300, 1e300, 1.0), (1e200, 1e300, 1.0)])
@pytest.mark.parametrize("cls", [Scipy, Torchdiffeq, Jax])
def test_first_step_survives_norms_that_overflow(cls, f0, f1, y0):
    """d1 = 0 with d2 = nan, or d1 = inf, where h0 = 0: some step that is a number and at least 0, as SciPy gives,
    no ZeroDivisionError."""
    with np.errstate(all="ignore"):
        h, _ = first_step(cls, lambda t, y: [f1 if t else f0], [y0], rtol=1e-6, atol=1e-9)
    assert 0 <= h < math.inf


# ---------------------------------------------------------------- beside the libraries, where they are installed

def test_torchdiffeq_counts_the_same():
    """torchdiffeq's own callbacks count the steps that controller="torchdiffeq" takes, dopri5 and bosh3,
    forward and backward."""
    torch, torchdiffeq = pytest.importorskip("torch"), pytest.importorskip("torchdiffeq")

    class Counting(torch.nn.Module):
        def __init__(self, f):
            super().__init__()
            self.f, self.counts = f, [0, 0]

        def forward(self, t, y):
            return torch.from_numpy(self.f(y.numpy(), t.numpy(), ()))

        def callback_accept_step(self, t, y, dt):
            self.counts[0] += 1

        def callback_reject_step(self, t, y, dt):
            self.counts[1] += 1

    for problem, method, rtol, ts in (("orbit", "dopri5", 1e-5, [0.0, 4.0]), ("spiral", "bosh3", 1e-4, [0.3, -0.1]),
                                      ("van der pol", "dopri5", 1e-4, [0.0, 3.0])):
        f, z0, _, _ = PROBLEMS[problem]
        field = Counting(f)
        times = torch.tensor(ts, dtype=torch.float64)
        zs = torchdiffeq.odeint(field, torch.from_numpy(z0), times, rtol=rtol, atol=rtol / 100, method=method)
        ours = solve(f, z0, ts, method=method, rtol=rtol, atol=rtol / 100, controller="torchdiffeq")
        assert [ours.stats.accepted, ours.stats.rejected] == field.counts
        if method == "dopri5":  # for bosh3 it interpolates otherwise
            np.testing.assert_allclose(ours.zs[-1], zs[-1].numpy(), rtol=1e-7)


def test_diffrax_counts_the_same():
    """diffrax's stats agree with those of controller="diffrax", forward and backward."""
    jax, diffrax = pytest.importorskip("jax"), pytest.importorskip("diffrax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    for ts, rtol, solver, method in (((0.0, 5.0), 1e-4, diffrax.Dopri5(), "dopri5"),
                                     ((0.3, -0.1), 1e-3, diffrax.Bosh3(), "bosh3")):
        term = diffrax.ODETerm(lambda t, y, args: y**3 @ jnp.asarray(SPIRAL))
        theirs = diffrax.diffeqsolve(term, solver, *ts, None, jnp.array([2.0, 0.0]),
                                     stepsize_controller=diffrax.PIDController(rtol, rtol / 100), max_steps=2000)
        ours = solve(*PROBLEMS["spiral"][:2], ts, method=method, rtol=rtol, atol=rtol / 100, controller="diffrax")
        counts = theirs.stats["num_accepted_steps"], theirs.stats["num_rejected_steps"]
        assert (ours.stats.accepted, ours.stats.rejected) == tuple(map(int, counts))
        np.testing.assert_allclose(ours.zs[-1], theirs.ys[-1], rtol=1e-7)


def test_jax_evaluates_as_often():
    """Evaluations of jax.experimental.ode.odeint, counted by a callback, with four elements so that its
    Euclidean norm matters."""
    jax, jax_ode = pytest.importorskip("jax"), pytest.importorskip("jax.experimental.ode")
    jax.config.update("jax_enable_x64", True)
    calls = []

    def counted(y, t):
        calls.append(float(t))
        return np.asarray(orbit(np.asarray(y), t, ()))

    def field(y, t):
        return jax.pure_callback(counted, jax.ShapeDtypeStruct((4,), np.float64), y, t)

    zs = jax_ode.odeint(field, jax.numpy.asarray(ORBIT_START), jax.numpy.array([0.0, 1.0]), rtol=1e-4, atol=1e-6)
    zs.block_until_ready()
    ours = solve(orbit, ORBIT_START, [0.0, 1.0], rtol=1e-4, atol=1e-6, controller="jax")
    assert ours.stats.nfev == len(calls)
    np.testing.assert_allclose(ours.zs[-1], zs[-1], rtol=1e-7)
