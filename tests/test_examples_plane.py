"""The commands on densities in the plane, and the Glow on the digits, on runs short enough for a test."""
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from refvdm import experiment

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
common, plu_flow, mhvae_2d, vdm_2d, elbo_forms = (
    importlib.import_module(name) for name in ("common", "plu_flow", "mhvae_2d", "vdm_2d", "elbo_forms"))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing is slow, and matplotlib need not be there."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize("main, extra, key, closing", [
    (plu_flow.main, [], "gap_nats", "gap to the true density"),
    (plu_flow.main, ["--data", "digits"], "test_bits_per_dim", "test "),
    (mhvae_2d.main, [], "gap_nats", "the bound lies below the true log-likelihood by"),
    (vdm_2d.main, [], "gap_nats", "the bound lies "),
])
def test_a_run_writes_its_results_and_the_same_command_shows_them_again(main, extra, key, closing, tmp_path, capsys):
    command = ["--steps", "2", "--out", str(tmp_path / "r"), *extra]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "python -m pip install -e '.[examples]'" in out
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    values = found[key].values() if isinstance(found[key], dict) else [found[key]]
    assert all(0 < value < 20 for value in values)
    assert out.splitlines()[-1].startswith(closing)
    assert main(command) == 0
    again = capsys.readouterr().out
    assert "this run is finished" in again and again.splitlines()[-1] == out.splitlines()[-1]
    assert main([*command, "--seed", "1"]) == 2
    assert "seed is 1 here and 0 there" in capsys.readouterr().err
    assert main([*command, "--fresh"]) == 0
    assert (tmp_path / "r" / "old-1" / "metrics.json").exists()


def test_the_forms_of_the_bound_are_measured(tmp_path, capsys, monkeypatch):
    """Means agree within their errors, variances are what the README says of them, the gap is that of the expansion."""
    monkeypatch.setattr(elbo_forms.variances, "__defaults__", (8, 60))
    assert elbo_forms.main(["--steps", "2", "--out", str(tmp_path / "r")]) == 0
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
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
    out = capsys.readouterr().out
    assert elbo_forms.main(["--steps", "2", "--out", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == out.splitlines()[-4:]


def test_results_without_a_checkpoint_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("mine")
    assert mhvae_2d.main(["--out", str(tmp_path)]) == 2
    assert (tmp_path / "metrics.json").read_text() == "mine"
    assert "no checkpoint to go on from" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert mhvae_2d.main(["--out", str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_pictures_are_drawn_with_new_results_and_when_one_is_missing(tmp_path, capsys, monkeypatch):
    done, pictures = [], ("a.png", "b.png")

    def results():
        done.append("results")
        return {"steps": 3}

    def draw(plt, found):
        done.append("drawn")
        for name in pictures:
            (tmp_path / name).write_text(str(found["steps"]))

    args = experiment.arguments("name", "", 3).parse_args(["--out", str(tmp_path)])
    (tmp_path / "checkpoint.npz").write_text("bits")

    def finish():
        done.clear()
        with experiment.Run("name", args, pictures) as folder:
            folder.finish(results, draw, lambda found: f"{found['steps']} steps")
        return done

    assert finish() == ["results"]  # there is no matplotlib
    monkeypatch.setattr(experiment, "pyplot", lambda: "plt")
    assert finish() == ["drawn"]
    assert finish() == []
    (tmp_path / "b.png").unlink()
    assert finish() == ["drawn"]
    (tmp_path / "metrics.json").unlink()
    assert finish() == ["results", "drawn"]
    assert capsys.readouterr().out.splitlines()[-1] == "3 steps"


def test_images_stand_side_by_side_with_a_gap():
    """Three images in two columns: each where it belongs, nan between them and where none is left."""
    class Axes:
        set_title = axis = staticmethod(lambda *args, **kwargs: None)

        def imshow(self, sheet, **kwargs):
            self.sheet = sheet

    axes, images = Axes(), np.arange(1.0, 19.0).reshape(3, 2, 3)
    common.show_images(axes, images, 2, "", 0, 1)
    assert axes.sheet.shape == (7, 9)
    for image, corner in zip(images, ((1, 1), (1, 5), (4, 1))):
        np.testing.assert_array_equal(axes.sheet[corner[0] : corner[0] + 2, corner[1] : corner[1] + 3], image)
    assert np.isnan(axes.sheet).sum() == 63 - 18


def test_memory_that_is_not_there_is_a_clear_line(capsys):
    def trial(args):
        raise MemoryError("Unable to allocate 9 TiB")
    assert experiment.guarded("name", trial, None) == 2
    assert capsys.readouterr().err == "name: not enough memory: Unable to allocate 9 TiB\n"


@pytest.mark.parametrize("args", [["--steps", "0"], ["--steps", "many"], ["--seed", "-1"]])
def test_bad_arguments_end_at_once(args, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        mhvae_2d.main([*args, "--out", str(tmp_path / "r")])
    assert stopped.value.code == 2 and not (tmp_path / "r").exists()


def test_the_digits_cost_of_a_flat_density_is_that_of_the_uniform_model():
    """log p = 0 on [0, 1)^64 is log2(17) bits/dim."""
    assert float(plu_flow.bits_per_dim(np.zeros(1), 64, 1 / plu_flow.LEVELS)[0]) == pytest.approx(np.log2(17))
