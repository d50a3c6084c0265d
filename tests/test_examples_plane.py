"""Every example but the digits' as a user meets it: --quick, the same again, another seed; and what they measure."""
import ast
import importlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from refvdm.checkpoint import CheckpointError
from refvdm.gaussian import log_normal

EXAMPLES = Path(__file__).parent.parent / "examples"
CELLS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ("common", "moves", "own_data"))
CLOSING = {"compare_parametrisations": "score ", "elbo_forms": "gap of the bound at T = 5000: 0.0048",
           "glow_digits": "test ", "mhvae_2d": "the bound lies below the true log-likelihood by ",
           "neural_ode_spiral": "learned path on [0, 25]: rms error ", "plu_flow": "gap to the true density ",
           "vdm_2d": "the bound lies "}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(name, *options) -> the globals of examples/name.py, run as a command, without pictures: they are slow."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def command(name, *options):
        monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path / "r"), *options])
        return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return command


@pytest.mark.parametrize("name", CELLS)
def test_every_example_opens_as_a_notebook(name):
    """It says what it shows and what to try next, and every cell can be run by itself."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    said, cells = ast.get_docstring(ast.parse(text)), text.split("\n# %% ")
    assert f"python examples/{name}.py" in said and "To try next: " in said
    assert len(cells) >= 5 and cells[0].startswith('"""')
    for cell in cells[1:]:
        ast.parse(f"# {cell}")


@pytest.mark.parametrize("name", CLOSING)
def test_a_run_writes_its_results_and_the_same_command_shows_them_again(name, run, tmp_path, capsys):
    found = run(name)
    out = capsys.readouterr().out
    assert "python -m pip install -e '.[examples]'" in out and out.splitlines()[-1].startswith(CLOSING[name])
    assert json.loads((tmp_path / "r" / "metrics.json").read_text()) == found["found"]
    CHECKS[name](found)
    assert run(name)["found"] == found["found"]
    again = capsys.readouterr().out
    assert "this run is finished (10 steps)" in again and again.splitlines()[-1] == out.splitlines()[-1]
    with pytest.raises(CheckpointError, match="seed is 1 here and 0 there"):
        run(name, "--seed", "1")


def the_parts_of_the_gap_are_the_gap(example):
    """And with a perfect denoiser, whose gap has no network in it, the network's part is the rest."""
    parts = {name: mean for name, (mean, _) in example["found"]["gap_parts_nats"].items()}
    assert sum(parts.values()) == pytest.approx(example["found"]["gap_nats"], rel=1e-9)
    assert 0.5 < parts["network"] < 5 and 0 < parts["steps"] < 1
    assert abs(parts["decoder"]) < 0.1 > abs(parts["prior"])


def the_kls_of_the_levels_are_what_the_latents_cost(example):
    """Their sum is E log q(z | x)/p(z), with the same draws; each is that of Gaussians while nothing is learned."""
    hvae, theta, T = example["hvae"], example["trained"].best, example["T"]
    rng = np.random.default_rng([0, 5])
    x = example["RING"].sample(100, rng)
    zs = hvae.encode(theta, x, rng)
    log_p_x = log_normal(x, *hvae.decoders[0](theta, zs[0])).sum(axis=1)
    cost = hvae.log_posterior(theta, x, zs) - (hvae.log_joint(theta, x, zs) - log_p_x)
    assert sum(example["kl_per_level"](theta, 100)) == pytest.approx(float(cost.mean()), rel=1e-9)
    linear = {name: {key: 0 * value for key, value in part.items()} for name, part in theta.items()}
    alpha_bar, s2 = np.prod(example["KEEP"]), example["DEVIATION"] ** 2
    top = 0.5 * (alpha_bar * np.mean(np.sum(x**2, axis=1)) / s2 - 2 * alpha_bar - 2 * np.log(1 - alpha_bar))
    assert example["kl_per_level"](linear, 500, paths=200)[T - 1] == pytest.approx(top, abs=0.05)


def the_forms_vary_as_they_must(example):
    """Means agree within their errors, variances are what the README says of them, the gap is that of the expansion."""
    found = example["found"]
    for name, means in found["mean"].items():
        for form, mean in means.items():
            error = sum((found["variance"][name][f] / 480) ** 0.5 for f in (form, "joint"))
            assert abs(mean - means["joint"]) < 6 * error, (name, form)
    poor, optimal = found["variance"]["poor"], found["variance"]["optimal"]
    assert poor["denoising"] < 1e-10 and 10 < poor["consistency"] < poor["joint"]
    assert optimal["joint"] < optimal["consistency"] < optimal["independent"] < optimal["denoising"]
    gaps = found["gap_nats"]
    np.testing.assert_allclose(gaps["linear gamma"][-3:], gaps["expansion, to first order"][-3:], rtol=0.02)
    assert gaps["linear_beta"][-1] > 0.28 < gaps["cosine"][-1]


def the_fields_own_pullback_is_the_engines(example):
    """d f/d[z, theta] of MLP(z^3), by hand and by the engine; memory grows with steps where a path is kept."""
    from refvdm.autodiff import ravel, vjp
    rng, field = np.random.default_rng(0), example["FIELD"]
    theta, z, a = field.mlp.init(rng), rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    value, pullback = vjp(lambda z, theta: field(z, 0.0, theta), z, theta)
    z_bar, theta_bar = pullback(a)
    for got, expected in zip(field.vjp(z, 0.0, theta, a), (value, z_bar, ravel(theta_bar)[0])):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
    backsolve, discrete = (example["found"]["memory_KiB"][mode] for mode in ("backsolve", "discrete"))
    assert backsolve[-1] < 1.2 * backsolve[0] and discrete[-1] > 3 * discrete[0]
    errors = example["found"]["gradient_errors"]
    assert all(errors[mode][-1] < errors[mode][0] < 0.1 for mode in errors)


def the_table_has_the_gaps(example):
    table, gaps = example["closing"](example["found"]).splitlines(), gaps_of(example)
    assert [row.split()[0] for row in table] == ["predicted", "x_0", "eps", "v", "score"]
    assert all(float(row.split()[1]) == pytest.approx(gaps[row.split()[0]][0], abs=5e-4) for row in table[1:])
    assert gaps["v"][0] < gaps["eps"][0] < gaps["x_0"][0]


def gaps_of(example):
    return example["found"]["gap_nats"]


def within(low, high, *values):
    assert all(low < value < high for value in values)


CHECKS = {
    "compare_parametrisations": the_table_has_the_gaps,
    "elbo_forms": the_forms_vary_as_they_must,
    "glow_digits": lambda example: within(2, 5, example["found"]["test_bits_per_dim"]),
    "mhvae_2d": the_kls_of_the_levels_are_what_the_latents_cost,
    "neural_ode_spiral": the_fields_own_pullback_is_the_engines,
    "plu_flow": lambda example: within(0, 3, gaps_of(example)),
    "vdm_2d": the_parts_of_the_gap_are_the_gap}


def test_images_stand_side_by_side_with_a_gap(monkeypatch):
    """Three images in two columns: each where it belongs, high is black, in colour bright; grey between them."""
    class Axes:
        set_title = axis = staticmethod(lambda *args, **kwargs: None)

        def imshow(self, sheet, **kwargs):
            self.sheet = sheet

    monkeypatch.syspath_prepend(str(EXAMPLES))
    common = importlib.import_module("common")
    axes, images = Axes(), np.arange(1.5, 19.0).reshape(3, 2, 3)
    for shown, shade in ((images, 1 - images / 20), (images[..., None].repeat(3, axis=3), images / 20)):
        common.show_images(axes, shown, 2, "", 0, 20)
        assert axes.sheet.shape == (7, 9, 3) and np.ptp(axes.sheet, axis=-1).max() == 0
        for image, corner in zip(shade, ((1, 1), (1, 5), (4, 1))):
            found = axes.sheet[corner[0] : corner[0] + 2, corner[1] : corner[1] + 3, 0]
            np.testing.assert_allclose(found, image, rtol=1e-12)
        assert (axes.sheet[..., 0] == 0.85).sum() == 63 - 18


def test_the_digits_cost_of_a_flat_density_is_that_of_the_uniform_model():
    """log p = 0 on [0, 1)^64 is log2(17) bits/dim."""
    from refvdm.flows import bits_per_dim
    assert float(bits_per_dim(np.zeros(1), 64, 1 / 17)[0]) == pytest.approx(np.log2(17))
