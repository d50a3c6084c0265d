"""The digits command as a user meets it, on data small enough for a test: results, going on, refusing, bad input."""
import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from refvdm.checkpoint import load_checkpoint

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
vdm_digits = importlib.import_module("vdm_digits")

CLOSING = re.compile(r"^test (-?\d+\.\d\d) bits/dim "
                     r"\(reconstruction (-?\d+\.\d\d), prior (\d+\.\d\d), diffusion (\d+\.\d\d)\)$")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing is slow, and matplotlib need not be there."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def images(tmp_path):
    """Thirty 4x4 images of 4 levels, each one grey all over."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", np.broadcast_to(rng.integers(0, 4, (30, 1, 1)), (30, 4, 4)))
    return tmp_path / "images.npy"


def call(capsys, *args):
    code = vdm_digits.main([str(a) for a in args])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_run_writes_consistent_results_and_says_how_to_get_pictures(images, tmp_path, capsys):
    code, out, _ = call(capsys, "--data", images, "--levels", 4, "--steps", 3, "--out", tmp_path / "r")
    assert code == 0
    assert "python -m pip install -e '.[examples]'" in out
    metrics = json.loads((tmp_path / "r" / "metrics.json").read_text())
    for split in ("test", "validation"):
        terms = metrics[split]
        assert terms["total"] == pytest.approx(terms["reconstruction"] + terms["prior"] + terms["diffusion"], rel=1e-12)
        assert 0 < terms["total"] < 4
        assert terms["prior"] >= 0 <= terms["diffusion"]
    assert CLOSING.match(out.splitlines()[-1]).group(1) == f"{metrics['test']['total']:.2f}"
    assert load_checkpoint(tmp_path / "r" / "checkpoint.npz")["step"] == 3
    assert not list((tmp_path / "r").glob("*.tmp"))


def test_again_the_same_command_shows_the_results_and_only_fresh_starts_over(images, tmp_path, capsys):
    command = ["--data", images, "--levels", 4, "--steps", 3, "--out", tmp_path / "r"]
    _, first, _ = call(capsys, *command)
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    code, again, _ = call(capsys, *command)
    assert code == 0
    assert "this run is finished (3 steps); --fresh starts over" in again
    assert again.splitlines()[-1] == first.splitlines()[-1]
    assert {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()} == before
    _, fresh, _ = call(capsys, *command, "--fresh")
    assert "the earlier run was moved to" in fresh
    assert {p.name: p.read_bytes() for p in (tmp_path / "r" / "old-1").iterdir()} == before
    assert (tmp_path / "r" / "checkpoint.npz").read_bytes() == before["checkpoint.npz"]  # same seed, same bits


def test_an_interrupted_run_goes_on_to_the_same_end(images, tmp_path, capsys, monkeypatch):
    command = ["--data", images, "--levels", 4, "--steps", 6]
    call(capsys, *command, "--out", tmp_path / "whole")
    estimates, real = [], vdm_digits.VDM.elbo_estimate

    def interrupted(*args, **kwargs):
        estimates.append(1)
        if len(estimates) == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(vdm_digits.VDM, "elbo_estimate", interrupted)
        code, _, err = call(capsys, *command, "--out", tmp_path / "r")
    assert code == 130
    assert "Run the same again to go on from there" in err
    assert not (tmp_path / "r" / "metrics.json").exists()
    assert call(capsys, *command, "--out", tmp_path / "r")[0] == 0
    assert (tmp_path / "r" / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()


@pytest.mark.parametrize("change, match", [
    (["--steps", 4], "steps is 4 here and 3 there"),
    (["--seed", 1], "seed is 1 here and 0 there"),
    (["--levels", 5], "levels is 5 here and 4 there"),
])
def test_another_runs_folder_is_refused_and_not_touched(images, tmp_path, capsys, change, match):
    command = ["--data", images, "--levels", 4, "--steps", 3, "--out", tmp_path / "r"]
    call(capsys, *command)
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    code, _, err = call(capsys, *command, *change)
    assert code == 2
    assert match in err
    assert {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()} == before


def test_results_without_a_checkpoint_are_not_overwritten(images, tmp_path, capsys):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "metrics.json").write_text("mine")
    code, _, err = call(capsys, "--data", images, "--levels", 4, "--steps", 1, "--out", tmp_path / "r")
    assert (code, (tmp_path / "r" / "metrics.json").read_text()) == (2, "mine")
    assert "holds metrics.json but no checkpoint" in err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"test": {"total": 1.0}}'])
def test_damaged_results_are_told_and_kept(images, tmp_path, capsys, text):
    command = ["--data", images, "--levels", 4, "--steps", 1, "--out", tmp_path / "r"]
    assert call(capsys, *command)[0] == 0
    (tmp_path / "r" / "metrics.json").write_text(text)
    code, out, err = call(capsys, *command)
    assert (code, out) == (2, "")
    assert "metrics.json is damaged" in err and "move it away and run again" in err
    assert (tmp_path / "r" / "metrics.json").read_text() == text


def test_float_data_is_reported_in_its_own_units(tmp_path, capsys):
    """A thousand times the data cost log2(1000) bits more for each dimension."""
    x = np.random.default_rng(1).standard_normal((40, 3))
    totals = []
    for name, scale in (("a", 1.0), ("b", 1000.0)):
        np.save(tmp_path / f"{name}.npy", scale * x)
        code, _, _ = call(capsys, "--data", tmp_path / f"{name}.npy", "--steps", 2, "--out", tmp_path / name)
        assert code == 0
        totals.append(json.loads((tmp_path / name / "metrics.json").read_text())["test"]["total"])
    assert totals[1] - totals[0] == pytest.approx(np.log2(1000), abs=1e-3)


def test_data_without_a_grid_goes_through_the_mlp(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(2).integers(0, 3, (30, 5)))
    assert call(capsys, "--data", tmp_path / "x.npy", "--levels", 3, "--steps", 2, "--out", tmp_path / "r")[0] == 0


def test_a_table_is_standardised_by_columns_and_images_whole(tmp_path):
    """center + unit x is the data again; the cost's shift is that of log |det| for the table too."""
    x = np.random.default_rng(3).standard_normal((40, 2)) * [1000, 0.1] + [5, -7]
    for name, array in (("table", x), ("images", np.repeat(x[:, :, None], 3, axis=2))):
        np.save(tmp_path / f"{name}.npy", array)
        data = vdm_digits.own_data.read(tmp_path / f"{name}.npy", None, 0)
        rows = np.concatenate(data[:3])
        back = np.sort((data.center + data.unit * rows), axis=0)
        np.testing.assert_allclose(back, np.sort(array.reshape(40, -1), axis=0), rtol=1e-5, atol=1e-3)
        spread = rows.std(axis=0) if name == "table" else rows.std()
        np.testing.assert_allclose(spread, 1, rtol=1e-5)
        assert vdm_digits.own_data.are_images(data) == (name == "images")
    data = vdm_digits.own_data.read(tmp_path / "table.npy", None, 0)
    assert np.log(data.scale) == pytest.approx(np.log(x.std(axis=0)).mean())


@pytest.mark.parametrize("shape, images, network", [
    ((12, 12), True, "AxialNetwork"), ((5, 7), True, "MLPNetwork"), ((144,), False, "MLPNetwork"),
    ((4, 3, 3), True, "MLPNetwork"), ((3, 3, 4), False, "MLPNetwork"), ((2,), False, "MLPNetwork")])
def test_images_are_told_from_tables_by_their_shape(tmp_path, shape, images, network):
    np.save(tmp_path / "x.npy", np.random.default_rng(4).integers(0, 4, (12, *shape)))
    data = vdm_digits.own_data.read(tmp_path / "x.npy", 4, 0)
    assert vdm_digits.own_data.are_images(data) == images
    assert type(vdm_digits.build(data).denoiser.network).__name__ == network


@pytest.mark.parametrize("array, args, match", [
    (np.ones((20, 4), int), [], "holds integers from 1 to 1: say how many levels"),
    (np.arange(80).reshape(20, 4), ["--levels", 10], "holds integers from 0 to 79: --levels 10 means 0..9"),
    (-np.ones((20, 4), int), ["--levels", 10], "values must lie in 0..K-1"),
    (np.ones((20, 4), int), ["--levels", 1], "--levels must be at least 2, got 1"),
    (np.full((20, 4), np.nan), [], "holds nan or infinity, first in example 0"),
    (np.ones((20, 4)), [], "all values are equal"),
    (np.arange(20.0)[:, None] * [1, 0], [], "all values in column 1 are equal"),
    (np.ones((20, 4)), ["--levels", 3], "--levels is for integer data"),
    (np.ones(20), [], "expected one array"),
    (np.ones((3, 4)), [], "at least 10 examples"),
    (np.ones((20, 0)), [], "expected one array"),
    (np.ones((20, 2), complex), [], "must hold integers or floats, got complex128"),
    (np.full((20, 2), "a"), [], "must hold integers or floats"),
    (None, [], "not a .npy file of numbers"),
])
def test_bad_data_is_a_clear_line(tmp_path, capsys, array, args, match):
    if array is None:
        (tmp_path / "x.npy").write_text("not an array")
    else:
        np.save(tmp_path / "x.npy", array)
    code, _, err = call(capsys, "--data", tmp_path / "x.npy", "--out", tmp_path / "r", *args)
    assert code == 2
    assert match in err
    assert not (tmp_path / "r").exists()


def test_bad_arguments(tmp_path, capsys):
    code, _, err = call(capsys, "--data", tmp_path / "nothing.npy", "--out", tmp_path / "r")
    assert (code, "nothing.npy cannot be read: No such file" in err) == (2, True)
    code, _, err = call(capsys, "--levels", 16, "--out", tmp_path / "r")
    assert (code, "the digits have 17 levels" in err) == (2, True)
    for args in (["--steps", "0"], ["--steps", "many"], ["--colour"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            vdm_digits.main([*args, "--out", str(tmp_path / "r")])
        assert stopped.value.code == 2
    assert not (tmp_path / "r").exists()
