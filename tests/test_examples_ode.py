"""The spiral command as a user meets it, on a run short enough for a test."""
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
spiral = importlib.import_module("neural_ode_spiral")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing is slow, and matplotlib need not be there."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_run_writes_its_results_and_the_same_command_shows_them_again(tmp_path, capsys, monkeypatch):
    errors = {mode: [0.1] for mode in spiral.COLOURS}
    monkeypatch.setattr(spiral, "mode_errors", lambda theta, samples: (np.array([1e-3]), errors))
    monkeypatch.setattr(spiral.memory, "__defaults__", ((25, 200),))
    monkeypatch.setattr(spiral, "probe", lambda samples: (np.array([0.0, 0.2]), lambda zs: zs))
    command = ["--steps", "3", "--gradient", "discrete", "--out", str(tmp_path / "r")]
    assert spiral.main(command) == 0
    out = capsys.readouterr().out
    assert "python -m pip install -e '.[examples]'" in out
    assert all(mode in out for mode in spiral.COLOURS)
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert out.splitlines()[-1].startswith(f"learned path on [0, 25]: rms error {found['rms_error']:.3f}")
    backsolve, discrete = found["memory_KiB"]["backsolve"], found["memory_KiB"]["discrete"]
    assert backsolve[-1] < 1.2 * backsolve[0] and discrete[-1] > 3 * discrete[0]
    assert spiral.main(command) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert spiral.main([*command, "--steps", "4"]) == 2
    assert "steps is 4 here and 3 there" in capsys.readouterr().err


def test_the_fields_own_pullback_is_the_engines():
    """d f/d[z, theta] of MLP(z^3), by hand and by the engine."""
    from refvdm.autodiff import ravel, vjp
    rng = np.random.default_rng(0)
    theta, z, a = spiral.FIELD.mlp.init(rng), rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    value, pullback = vjp(lambda z, theta: spiral.FIELD(z, 0.0, theta), z, theta)
    z_bar, theta_bar = pullback(a)
    by_hand = spiral.FIELD.vjp(z, 0.0, theta, a)
    for got, expected in zip(by_hand, (value, z_bar, ravel(theta_bar)[0])):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
