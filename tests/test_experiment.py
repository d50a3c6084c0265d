"""A small experiment of a user's own: resume, Ctrl-C, a second run, results that name their run, pictures."""
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from refvdm import experiment
from refvdm.checkpoint import CheckpointError, load_checkpoint
from refvdm.fit import fit
from refvdm.optim import Adam


class Trial:
    """The mean of normal numbers, learned; `at` is a step before which something happens."""

    def __init__(self, at=None, what=None):
        self.at, self.what, self.step, self.drawn = at, what, 0, 0

    def __call__(self, args):
        def loss(theta, rng):
            self.step += 1
            if self.step == self.at:
                self.what()
            return np.mean(np.square(theta["x"] - rng.standard_normal(8)))

        with experiment.Run("trial", args, ["a.png"]) as run:
            trained = fit(loss, {"x": np.full(1, 3.0)}, np.random.default_rng(args.seed), steps=args.steps,
                          optimizer=Adam(0.1), checkpoint=run.checkpoint, validate_every=5, progress=False,
                          settings={"seed": args.seed})

            def draw(plt, found):
                self.drawn += 1
                (run.out / "a.png").write_text("picture")

            self.found = run.finish(lambda: {"mean": float(trained.best["x"][0]), **experiment.about(trained, own=1)},
                                    draw, lambda found: f"mean {found['mean']:.6f}")


def call(out, *args, trial=None):
    return experiment.call("trial", trial or Trial(), experiment.arguments("trial", __doc__, 20),
                           ["--out", str(out), *args])


@pytest.fixture(autouse=True)
def no_matplotlib(monkeypatch):
    monkeypatch.setattr(experiment, "pyplot", lambda: None)


def test_results_name_their_run_and_are_those_of_the_training(tmp_path, capsys):
    trial = Trial()
    assert call(tmp_path / "r", trial=trial) == 0
    found = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert found == trial.found
    assert found["run"]["command"] == ["trial", "--steps=20", "--seed=0"] and found["run"]["seed"] == 0
    assert len(found["run"]["id"]) == 16
    assert found["mean"] == load_checkpoint(tmp_path / "r" / "checkpoint.npz")["best"]["x"][0]
    assert (found["steps"], found["best_step"], found["parameters"], found["own"]) == (20, 20, 1, 1)
    assert [row["step"] for row in found["history"]] == [5, 10, 15, 20]
    out = capsys.readouterr().out
    assert out.startswith("trained; now the results") and out.splitlines()[-1] == f"mean {found['mean']:.6f}"
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [".program", "checkpoint.npz", "metrics.json"]
    assert call(tmp_path / "r") == 0
    assert capsys.readouterr().out.splitlines() == ["this run is finished (20 steps); --fresh starts over",
                                                    f"mean {found['mean']:.6f}"]
    assert call(tmp_path / "other", "--seed", "1") == 0
    assert json.loads((tmp_path / "other" / "metrics.json").read_text())["run"]["id"] != found["run"]["id"]


def test_an_edited_program_is_told_of_until_it_starts_over(tmp_path, capsys, monkeypatch):
    program = tmp_path / "mine.py"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program), raising=False)
    said = "mine.py has changed since this run began; what is done stays done, --fresh starts over"
    for text, options, told in (("a", (), False), ("a", (), False), ("b", (), True), ("b", (), True),
                                ("b", ("--fresh",), False), ("b", (), False), ("a", (), True)):
        program.write_text(text, encoding="utf-8")
        assert call(tmp_path / "r", *options) == 0
        assert (said in capsys.readouterr().out.splitlines()) == told


def test_ctrl_c_and_then_the_same_command_gives_the_same_files(tmp_path, capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert call(tmp_path / "whole") == 0
    assert call(tmp_path / "r", trial=Trial(8, interrupt)) == 130
    assert "trial: interrupted; the same command goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "r" / "metrics.json").exists() and not (tmp_path / "r" / ".lock").exists()
    assert call(tmp_path / "r") == 0
    for name in ("checkpoint.npz", "metrics.json"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
def test_a_second_run_in_the_folder_is_told_and_changes_nothing(tmp_path, capsys, fresh):
    codes = []
    assert call(tmp_path / "whole") == 0
    trial = Trial(8, lambda: codes.append(call(tmp_path / "r", *fresh)))
    assert call(tmp_path / "r", trial=trial) == 0
    assert codes == [2]
    err = capsys.readouterr().err
    assert f"trial: {tmp_path / 'r'} is in use by process" in err and "--fresh" not in err
    assert (tmp_path / "r" / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()
    assert not list((tmp_path / "r").glob("old-*"))


def test_results_of_another_run_are_not_shown(tmp_path, capsys):
    assert call(tmp_path / "a") == call(tmp_path / "b", "--seed", "1") == 0
    capsys.readouterr()
    foreign = (tmp_path / "a" / "metrics.json").read_bytes()
    (tmp_path / "b" / "metrics.json").write_bytes(foreign)
    assert call(tmp_path / "b", "--seed", "1") == 2
    said = capsys.readouterr()
    assert said.out == "" and "metrics.json is of another run" in said.err
    assert (tmp_path / "b" / "metrics.json").read_bytes() == foreign
    for damaged in ('{"mean": 1.0}', "{", '{"run": {}}'):
        (tmp_path / "b" / "metrics.json").write_text(damaged)
        assert call(tmp_path / "b", "--seed", "1") == 2
        assert "metrics.json is damaged" in capsys.readouterr().err


def test_fresh_moves_the_earlier_run_each_time_to_a_new_place(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "pyplot", lambda: "plt")
    trial = Trial()
    for n in range(3):
        assert call(tmp_path, "--fresh", trial=trial) == 0
        assert trial.drawn == n + 1 and "pictures: a.png" in capsys.readouterr().out
    for n in (1, 2):
        assert sorted(p.name for p in (tmp_path / f"old-{n}").iterdir()) == [
            ".program", "a.png", "checkpoint.npz", "metrics.json"]
    (tmp_path / "a.png").unlink()
    assert call(tmp_path, trial=trial) == 0 and call(tmp_path, trial=trial) == 0 and trial.drawn == 4


@pytest.mark.parametrize("error, code, match", [
    (MemoryError("9 TiB"), 2, "not enough memory: 9 TiB"), (experiment.Refused("bad"), 2, "trial: bad"),
    (OSError(28, "No space left"), 2, "No space left"), (FloatingPointError, None, ""),
    (ValueError, None, ""), (TypeError, None, "")])
def test_what_goes_wrong_is_one_line_and_a_status(capsys, error, code, match):
    def main(args):
        raise error
    if code is None:  # a fault of the program keeps its traceback
        with pytest.raises(error):
            experiment.guarded("trial", main, None)
    else:
        assert experiment.guarded("trial", main, None) == code
        err = capsys.readouterr().err
        assert match in err and err.count("\n") == 1


def test_means_have_standard_errors():
    assert experiment.mean_and_error(np.array([1.0, 3.0, 1.0, 3.0])) == (2.0, 0.5)


def test_a_file_is_whole_or_not_there(tmp_path):
    with pytest.raises(KeyError), experiment.whole(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError), experiment.whole(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"
    with experiment.whole(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "new"


def test_nothing_of_the_drawing_is_imported_before_it_is_used():
    code = "import sys, refvdm.experiment; assert not {'matplotlib', 'tqdm'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- scripts of cells


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(text, *options) -> the globals of ring.py with this text, run as `python ring.py` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(text, *options):
        (tmp_path / "ring.py").write_text(text)
        monkeypatch.setattr(sys, "argv", ["ring.py", *options])
        return runpy.run_path("ring.py", run_name="__main__")
    return run


WHOLE = textwrap.dedent(experiment.__doc__.split("in an editor:\n")[1].split("\nIt has --steps")[0])


def test_the_experiment_of_the_docstring_is_whole_and_goes_on(script, tmp_path, capsys):
    """It has at most 40 lines; stopped and called again it gives the files of a run that never was."""
    assert len(WHOLE.strip().splitlines()) <= 40 and WHOLE.count("# %%") == 3
    found = script(WHOLE, "--steps", "4", "--out", "whole")["found"]
    assert 0 < found["gap_nats"] < 20 and [row["step"] for row in found["history"]] == [4]
    stopped = WHOLE.replace("def loss", "seen = []\ndef loss").replace(
        "    return -np", "    seen.append(1)\n    if len(seen) > 2:\n        raise KeyboardInterrupt\n    return -np")
    with pytest.raises(KeyboardInterrupt):
        script(stopped, "--steps", "4", "--out", "r")
    script(WHOLE, "--steps", "4", "--out", "r")
    for name in ("checkpoint.npz", "metrics.json"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    said = capsys.readouterr()
    assert "gap " in said.out and re.search(r"loss \d+\.\d+ nats", said.err)


def test_a_notebook_has_the_defaults_and_quick_a_folder_of_its_own(monkeypatch):
    """What stands in sys.argv is the kernel's own there; options given in the call count everywhere."""
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    parser = experiment.arguments("ring", "", 2000)
    args = experiment.options(parser)
    assert (args.steps, args.seed, args.quick, args.out.as_posix()) == (2000, 0, False, "runs/ring")
    quick = experiment.options(parser, ["--quick"])
    assert (quick.steps, quick.out.as_posix()) == (10, "runs/ring-quick")
    assert experiment.options(parser, ["--quick", "--out", "x"]).out.as_posix() == "x"
    assert not experiment.in_notebook()


@pytest.mark.parametrize("line, code, match", [
    ("raise experiment.Refused('no such data')", 2, "ring: no such data\n"),
    ("raise KeyboardInterrupt", 130, "ring: interrupted; the same command goes on from here\n"),
    ("np.ones(3) + np.ones(2)", 1, "Traceback")])
def test_what_the_user_can_mend_is_one_line_of_a_script(tmp_path, line, code, match):
    (tmp_path / "ring.py").write_text("import numpy as np\nfrom refvdm import experiment\n"
                                      f"experiment.options(experiment.arguments('ring', '', 1))\n{line}\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(tmp_path / "ring.py")], capture_output=True, text=True, check=False,
                          env=environment)
    assert done.returncode == code and done.stderr.startswith(match)


def test_every_option_defines_the_run(tmp_path):
    """run.fit refuses the checkpoint of another option, whatever its name, and of other settings."""
    parser = experiment.arguments("trial", "", 3)
    parser.add_argument("--width", type=int, default=4)

    def trial(*options, settings=None):
        with experiment.Run("trial", experiment.options(parser, ["--out", str(tmp_path / "r"), *options])) as run:
            return run.fit(lambda theta, rng: np.sum(theta**2), np.ones(2), np.random.default_rng(0),
                           optimizer=Adam(0.1), progress=False, settings=settings)
    assert trial().step == trial().step == 3
    for options, settings, match in [(["--width", "5"], None, "width is 5 here and 4 there"),
                                     (["--seed", "1"], None, "seed is 1 here and 0 there"),
                                     ([], {"data": "a"}, "data")]:
        with pytest.raises(CheckpointError, match=match):
            trial(*options, settings=settings)


def test_figures_that_draw_returns_are_saved(tmp_path, monkeypatch):
    class Figure:
        def savefig(self, path, **kwargs):
            Path(path).write_text("picture")

    closed = []
    monkeypatch.setattr(experiment, "pyplot", lambda: SimpleNamespace(close=closed.append))
    figure = Figure()
    with experiment.Run("trial", experiment.options(experiment.arguments("t", "", 1), ["--out", str(tmp_path)]),
                        ["a.png"]) as run:
        run.finish(dict, lambda plt, found: {"a.png": figure}, lambda found: "")
    assert (tmp_path / "a.png").read_text() == "picture" and closed == [figure]


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    """IPython may be imported where no shell runs; in a notebook the backend of the pictures stays as it is."""
    for shell, answer in ((None, False), (object(), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert experiment.in_notebook() is answer
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    assert experiment.in_notebook() is False


@pytest.mark.parametrize("option", [["--steps", "0"], ["--steps", "many"], ["--seed", "-1"], ["--out"]])
def test_bad_options_end_at_once(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as stopped:
        call(tmp_path / "r", *option)
    assert stopped.value.code == 2 and "expected" in capsys.readouterr().err and not (tmp_path / "r").exists()
