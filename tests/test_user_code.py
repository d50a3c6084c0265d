"""What a caller's fields, losses, validations, decoders and bases return at any one call: refused by name.

Denoisers and conditionals have files of their own.
"""
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wrong_arguments import foreign

from refvdm.fit import NonFiniteLoss, fit
from refvdm.ode import SolverError, adjoint, solve
from refvdm.optim import Adam
from refvdm.vdm import VDM, GaussianDecoder, Schedule, flow_log_prob

# what comes back in the place of an array of floats, and what is said of it
BROKEN = {
    "complex": (lambda y: y + 1e-17j, "complex"), "integers": (lambda y: np.ones(y.shape, int), "int64"),
    "masked": (lambda y: np.ma.array(y, mask=True), "a masked array"), "None": (lambda y: None, "NoneType"),
    "strings": (lambda y: np.full(y.shape, "a"), "<U1"), "torch": (lambda y: foreign("torch")(y), "torch.Tensor"),
    "another shape": (lambda y: np.ones((*y.shape, 2)), "shape"),
    "float32": (lambda y: y.astype(np.float32), "float32"),
}
NAN = {"nan": (lambda y: y * np.nan, ""), "inf": (lambda y: y + np.inf, "")}


class Nth:
    """f, whose n-th call returns something else."""

    def __init__(self, f, n, broken):
        self.f, self.n, self.broken, self.calls = f, n, broken, 0

    def __call__(self, *args):
        made = self.f(*args)
        self.calls += 1
        return self.broken(made) if self.calls == self.n + 1 else made


# ---------------------------------------------------------------- fields

Z0, TS, THETA = np.array([1.0, -0.5]), [0.0, 0.4, 1.0], np.array([0.5, 1.5])
OPTIONS = [{}, {"method": "rk4", "step": 0.2}, {"method": "bosh3", "controller": "diffrax"}]


def field(z, t, theta):
    return -theta * z


@given(st.sampled_from(OPTIONS), st.integers(0, 14), st.sampled_from(sorted(BROKEN)))
def test_a_field_at_any_call(options, n, kind):
    broken, told = BROKEN[kind]
    with pytest.raises((TypeError, ValueError), match=rf"the field must return dz/dt .*{told}"):
        solve(Nth(field, n, broken), Z0, TS, THETA, **options)


@given(st.sampled_from(OPTIONS), st.integers(0, 14), st.sampled_from(sorted(NAN)))
def test_a_field_that_is_once_not_finite(options, n, kind):
    """A step too long may meet it, and is tried again shorter; the result is right, or an error says where."""
    right = np.exp(-np.outer(TS, THETA)) * Z0
    try:
        zs = solve(Nth(field, n, NAN[kind][0]), Z0, TS, THETA, **options).zs
    except SolverError as error:
        assert error.reason == "not finite" and re.search(r"not finite.* t = |from t = ", str(error))
    else:
        np.testing.assert_allclose(zs, right, rtol=1e-3)


class ByHand:
    """The field with a vjp of its own, of which one part is wrong at one call."""

    def __init__(self, part, n, broken):
        self.part, self.n, self.broken, self.calls = part, n, broken, 0

    def __call__(self, z, t, theta):
        return field(z, t, theta)

    def vjp(self, z, t, theta, a):
        parts = [field(z, t, theta), -a * theta, -a * z, np.array(0.0)]
        self.calls += 1
        if self.calls == self.n + 1:
            parts[self.part] = self.broken(parts[self.part])
        return tuple(parts)


@given(st.sampled_from(["backsolve", "interpolated", "discrete", "forward"]), st.sampled_from([1, 2]),
       st.integers(0, 5), st.sampled_from(sorted(set(BROKEN) - {"float32"})))
def test_a_vjp_written_by_hand_at_any_call(mode, part, n, kind):
    solution, name = solve(field, Z0, TS, THETA), ("f", "df/dz", "df/dtheta")[part]
    broken, told = BROKEN[kind]
    with pytest.raises((TypeError, ValueError), match=rf"^a {name} of the field's vjp, at t = .*{told}"):
        adjoint(ByHand(part, n, broken), solution, solution.zs, mode=mode)


@pytest.mark.parametrize("answer", [None, (), [1, 2, 3, 4], (Z0, Z0, Z0)])
def test_a_vjp_returns_four_things(answer):
    hand, solution = ByHand(0, 99, None), solve(field, Z0, TS, THETA)
    hand.vjp = lambda *args: answer
    with pytest.raises(TypeError, match="the field's vjp must return a tuple"):
        adjoint(hand, solution, solution.zs)


# ---------------------------------------------------------------- losses and validations


def loss(theta, rng):
    return np.sum(np.square(theta["x"]))


def run(loss=loss, **options):
    return fit(loss, {"x": np.ones(3)}, np.random.default_rng(0), steps=8, optimizer=Adam(0.1), progress=False,
               validate_every=2, **options)


SCALARS = {**BROKEN, "another shape": (lambda y: y * np.ones(2), r"shape \(2,\)")}
for made_by_numpy in ("strings", "torch", "masked", "float32", "integers", "complex"):
    del SCALARS[made_by_numpy]  # a Tensor has none of these


@given(st.integers(0, 7), st.sampled_from(sorted(SCALARS)))
def test_a_loss_at_any_step(n, kind):
    broken, told = SCALARS[kind]
    with pytest.raises((TypeError, ValueError), match=rf"fit: the value of loss must be one real number, got .*{told}"):
        run(Nth(loss, n, broken))


@given(st.integers(0, 7), st.sampled_from(sorted(NAN)))
def test_a_loss_that_is_not_finite_names_its_step(n, kind):
    with pytest.raises(NonFiniteLoss, match=f"step {n + 1}: the loss is {kind}"):
        run(Nth(loss, n, NAN[kind][0]))


@given(st.integers(0, 3), st.sampled_from(sorted(set(BROKEN) - {"integers", "float32"})))
def test_a_validation_at_any_time(n, kind):
    broken, told = BROKEN[kind]
    validate = Nth(lambda theta: np.sum(theta["x"] ** 2), n, lambda y: broken(np.asarray(y)))
    with pytest.raises((TypeError, ValueError), match=rf"fit: the value of validate must be one real number.*({told})"):
        run(validate=validate)


# ---------------------------------------------------------------- decoders and bases

T, N, D = 3, 2, 2
SCHEDULE, rng = Schedule.linear_gamma(T, -3.0, 3.0), np.random.default_rng(0)
X, EPS = rng.standard_normal((N, D)), rng.standard_normal((T, N, D))


class Decoder(GaussianDecoder):
    """One that is wrong at one call of either of its methods."""

    def __init__(self, n, broken):
        super().__init__(0.3)
        self.log_prob, self.sample = Nth(super().log_prob, n, broken), Nth(super().sample, n, broken)


def half(theta, x, t):
    return 0.5 * x


@given(st.integers(0, 3), st.sampled_from(sorted({**BROKEN, **NAN})), st.sampled_from(["log_prob", "sample"]))
def test_a_decoder_at_any_call(n, kind, method):
    broken, told = {**BROKEN, **NAN}[kind]
    vdm = VDM(half, SCHEDULE, Decoder(n, broken))
    refused = kind != "float32"
    for i in range(4):
        def call():
            if method == "sample":
                return vdm.sample(None, (N, D), x_T=X, eps=EPS)
            return vdm.elbo(None, X, eps=EPS)
        if i == n and refused:
            with pytest.raises((TypeError, ValueError), match=rf"what decoder.{method} returns must .*({told})"):
                call()
        else:
            call()


@given(st.sampled_from(sorted(set(BROKEN) - {"float32"})))
def test_a_base(kind):
    broken, told = BROKEN[kind]
    with pytest.raises((TypeError, ValueError), match=rf"what base returns must .*({told})"):
        flow_log_prob(VDM(half, SCHEDULE, Decoder(9, None)), None, X, rtol=1e-2,
                      base=lambda x: broken(np.sum(x, axis=1)))
