"""The training loop: it descends, keeps the best, and a run that was stopped in any way goes on with the same bits."""
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from refvdm.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from refvdm.fit import NonFiniteLoss, fit
from refvdm.optim import EMA, Adam

TARGET = np.array([1.0, -2.0, 3.0], np.float32)


def noisy(theta, rng):
    """A quadratic bowl seen through noise."""
    return np.mean(np.square(theta["x"] - TARGET + rng.standard_normal(3, dtype=np.float32)))


def distance(theta):
    return float(np.sum(np.square(theta["x"] - TARGET))), {"first": float(theta["x"][0])}


def run(loss=noisy, steps=40, **kwargs):
    theta = {"x": np.zeros(3, np.float32), "n": 7}
    options = {"optimizer": Adam(0.2, cosine_steps=steps), "ema": EMA(0.8), "validate": distance, "validate_every": 10,
               "progress": False}
    return fit(loss, theta, np.random.default_rng(5), steps=steps, **{**options, **kwargs})


def bits(result):
    return [result.theta["x"].tobytes(), result.best["x"].tobytes(), result.best_value, result.best_step,
            result.history]


def test_it_descends_and_reports():
    result = run(steps=300)
    assert distance(result.theta)[0] < 0.1
    assert result.best["n"] == 7
    assert result.step == 300
    assert [row["step"] for row in result.history] == list(range(10, 301, 10))
    assert all({"loss", "validation", "validation_first"} <= row.keys() for row in result.history)
    assert result.best_value == min(row["validation"] for row in result.history) == distance(result.best)[0]
    assert result.history[result.best_step // 10 - 1]["validation"] == result.best_value


def test_the_loop_is_adam_on_the_losses_gradient_and_its_average():
    """Twelve steps written out: minibatch noise, closed-form gradient, optimiser, average."""
    result = run(steps=12, validate=None)
    opt, ema, rng, x = Adam(0.2, cosine_steps=12), EMA(0.8), np.random.default_rng(5), np.zeros(3, np.float32)
    state, average, losses = opt.init(x), ema.init(x), []
    for _ in range(12):
        off = x - TARGET + rng.standard_normal(3, dtype=np.float32)
        losses.append(np.mean(off * off))
        x, state = opt.update(x, 2 * off / 3, state)
        average = ema.update(average, x)
    np.testing.assert_allclose(result.theta["x"], x, rtol=1e-5)
    np.testing.assert_allclose(result.best["x"], average, rtol=1e-5)
    assert result.best_step == 12
    assert [row["step"] for row in result.history] == [10, 12]
    np.testing.assert_allclose([row["loss"] for row in result.history], [np.mean(losses[:10]), np.mean(losses[10:])],
                               rtol=1e-5)


def test_without_an_average_the_parameters_themselves_are_validated():
    result = run(steps=20, ema=None, validate_every=20)
    assert result.best["x"].tobytes() == result.theta["x"].tobytes()


def test_extras_of_the_loss_are_averaged_into_the_history():
    def loss(theta, rng):
        return noisy(theta, rng), {"draw": rng.random()}

    rng, row = np.random.default_rng(5), run(loss, steps=7).history[0]
    draws = []
    for _ in range(7):
        rng.standard_normal(3, dtype=np.float32)
        draws.append(rng.random())
    assert row["draw"] == pytest.approx(np.mean(draws), rel=1e-12)


class Stopped(Exception):
    pass


def stopping(at, how):
    count = 0

    def loss(theta, rng):
        nonlocal count
        count += 1
        value = noisy(theta, rng)
        if count == at:
            raise how
        return value

    return loss


@pytest.mark.parametrize("at", [1, 9, 10, 11, 25, 40])
@pytest.mark.parametrize("how", [Stopped(), KeyboardInterrupt()])
def test_a_stopped_run_goes_on_with_equal_bits(tmp_path, at, how, capsys):
    whole = run()
    with pytest.raises(type(how)):
        run(stopping(at, how), checkpoint=tmp_path / "c.npz")
    if isinstance(how, KeyboardInterrupt):
        assert load_checkpoint(tmp_path / "c.npz")["step"] == at - 1
        assert f"Interrupted after step {at - 1} of 40, saved in {tmp_path / 'c.npz'}" in capsys.readouterr().err
    assert bits(run(checkpoint=tmp_path / "c.npz")) == bits(whole)


def test_a_finished_run_returns_at_once(tmp_path):
    first = run(checkpoint=tmp_path / "c.npz")
    before = (tmp_path / "c.npz").read_bytes()

    def never(theta, rng):
        raise AssertionError("no step is owed")

    assert bits(run(never, checkpoint=tmp_path / "c.npz")) == bits(first)
    assert (tmp_path / "c.npz").read_bytes() == before


@pytest.mark.parametrize("generator", [np.random.SFC64, np.random.MT19937, np.random.Philox])
def test_every_bit_generator_resumes(tmp_path, generator):
    def one(loss, **kwargs):
        return fit(loss, {"x": np.zeros(3, np.float32)}, np.random.Generator(generator(3)),
                   steps=30, optimizer=Adam(0.1), validate_every=10, progress=False, **kwargs)

    with pytest.raises(Stopped):
        one(stopping(15, Stopped()), checkpoint=tmp_path / "c")
    assert bits(one(noisy, checkpoint=tmp_path / "c")) == bits(one(noisy))
    with pytest.raises(CheckpointError, match="generator"):
        run(checkpoint=tmp_path / "c", steps=30, optimizer=Adam(0.1), ema=None, validate=None)


SCRIPT = """
import signal, sys, time
import numpy as np
sys.path[:0] = sys.argv[2:]
import test_fit
def slow(theta, rng):
    time.sleep(0.02)
    return test_fit.noisy(theta, rng)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
print("started", flush=True)
test_fit.run(slow, steps=200, checkpoint=sys.argv[1], checkpoint_every=5)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_process_leaves_a_good_checkpoint_and_the_run_goes_on_with_equal_bits(tmp_path, how):
    path = tmp_path / "c.npz"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path),
                                *filter(None, [str(Path(__file__).parent), *sys.path])],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(getattr(signal, how))
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    if how == "SIGINT":
        assert "Run the same again to go on from there" in errors
    assert 0 < load_checkpoint(path)["step"] < 200
    assert bits(run(steps=200, checkpoint=path, checkpoint_every=5)) == bits(run(steps=200))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_loss_names_the_step_and_keeps_the_checkpoint(tmp_path, bad):
    def loss(theta, rng):
        value = noisy(theta, rng)
        loss.count += 1
        return value * bad if loss.count == 13 else value

    loss.count = 0
    with pytest.raises(NonFiniteLoss, match=f"step 13: the loss is {bad}; the last good checkpoint is kept in"):
        run(loss, checkpoint=tmp_path / "c")
    assert load_checkpoint(tmp_path / "c")["step"] == 10
    assert bits(run(checkpoint=tmp_path / "c")) == bits(run())
    loss.count = 0
    with pytest.raises(NonFiniteLoss, match="step 13.*no checkpoint had been written"):
        run(loss)


def test_a_nan_gradient_of_a_finite_loss_never_reaches_a_checkpoint(tmp_path):
    def loss(theta, rng):
        loss.count += 1
        return noisy(theta, rng) + (0 * np.sqrt(np.sum(theta["x"] * 0)) if loss.count == 20 else 0)

    loss.count = 0
    finite = r"step 20: the loss was finite but Adam: the gradient of parameter \['x'\] must be finite, got nan"
    with pytest.warns(RuntimeWarning), pytest.raises(NonFiniteLoss, match=finite):
        run(loss, checkpoint=tmp_path / "c")
    assert load_checkpoint(tmp_path / "c")["step"] == 10


@pytest.mark.parametrize("how, kept", [
    ({"validate_every": 2}, "no checkpoint had been written"),
    ({"validate_every": 9, "checkpoint_every": 1}, "the last good checkpoint is kept in .*c")])
def test_parameters_beyond_the_largest_number_are_neither_validated_nor_kept(tmp_path, how, kept):
    """A slope of 1/1000 is followed by 3e38 a step: finite after one, infinite in float32 after two."""
    path = tmp_path / "c" if "checkpoint_every" in how else None
    match = rf"step 2: the loss was finite but parameter \['x'\] is not; {kept}"
    with np.errstate(over="ignore"), pytest.raises(NonFiniteLoss, match=match):
        run(lambda theta, rng: np.sum(theta["x"] * np.float32(1e-3)), optimizer=Adam(3e38), validate=None,
            checkpoint=path, **how)
    if path is not None:
        last = load_checkpoint(path)
        assert last["step"] == 1 and np.allclose(last["theta"]["x"], -3e38, rtol=1e-4)


def test_a_non_finite_validation_is_an_error():
    with pytest.raises(NonFiniteLoss, match="step 10: the validation gives nan"):
        run(validate=lambda theta: np.nan)


def refused(path, match, **kwargs):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=match):
        run(checkpoint=path, **kwargs)
    assert path.read_bytes() == before


def test_checkpoints_of_other_runs_are_refused_and_never_overwritten(tmp_path):
    path = tmp_path / "c.npz"
    run(checkpoint=path, settings={"data": "digits", "sizes": (1, 2)})
    refused(path, "settings.data is 'own' here and 'digits' there", settings={"data": "own", "sizes": [1, 2]})
    refused(path, "settings.data is None here and 'digits' there")
    same = {"data": "digits", "sizes": (1, 2)}
    refused(path, "steps is 41 here and 40 there", steps=41, settings=same)
    refused(path, "optimizer.learning_rate is 0.3 here and 0.2 there",
            optimizer=Adam(0.3, cosine_steps=40), settings=same)
    refused(path, "ema is 0.9 here and 0.8 there", ema=EMA(0.9), settings=same)
    with pytest.raises(CheckpointError, match=r"field 'theta' is .*: expected shape \(4,\) float32, found \(3,\)"):
        fit(noisy, {"x": np.zeros(4, np.float32), "n": 7}, np.random.default_rng(5),
            steps=40, optimizer=Adam(0.2, cosine_steps=40),
            ema=EMA(0.8), validate_every=10, checkpoint=path, settings=same, progress=False)


def test_unusable_files_are_refused_and_never_overwritten(tmp_path):
    path = tmp_path / "c.npz"
    run(checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "corrupt, truncated or not a checkpoint")
    np.savez(path, x=np.ones(3))
    refused(path, "not a refvdm checkpoint")
    save_checkpoint(path, {"x": 1})
    refused(path, "not one of a training run")
    save_checkpoint(path, [1, 2])
    refused(path, "not one of a training run")


@pytest.mark.parametrize("kwargs, name",
                         [({"steps": 0}, "steps"), ({"steps": 2.5}, "steps"), ({"steps": True}, "steps"),
                          ({"validate_every": 0}, "validate_every"), ({"checkpoint_every": 0}, "checkpoint_every")])
def test_bad_arguments(kwargs, name):
    with pytest.raises(ValueError, match=f"fit: {name} must be an integer of at least 1, got "):
        fit(noisy, {"x": np.zeros(3)}, np.random.default_rng(5), **{"optimizer": Adam(0.1), "steps": 5, **kwargs})


def test_progress_without_tqdm_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(progress=True)
    assert "step 40 of 40" in capsys.readouterr().err
    assert bits(result) == bits(run())


def test_the_lines_come_every_five_seconds_and_at_the_end(monkeypatch, capsys):
    """A step takes 2.5 s of this clock."""
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)

    def loss(theta, rng):
        clock.now += 2.5
        return noisy(theta, rng)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("refvdm.fit.time", clock)
    result = run(loss, steps=5, progress=True, validate_every=3, unit="nats")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 2 of 5", "step 4 of 5", "step 5 of 5"]
    assert "validation" not in lines[0] and all(line.count(" nats") == line.count(",") for line in lines)
    assert lines[1].endswith(f", validation {result.history[0]['validation']:.4f} nats")


@pytest.mark.parametrize("terminal, seconds", [(True, 0.2), (False, 10)])
def test_the_bar_goes_on_from_the_checkpoint_and_is_rare_in_a_log(tmp_path, monkeypatch, terminal, seconds):
    bars = []

    class Bar:
        def __init__(self, **kwargs):
            bars.append(self)
            self.kwargs, self.n, self.text, self.closed = kwargs, 0, [], False

        def set_postfix_str(self, text, refresh):
            self.text.append(text)

        def update(self, n):
            self.n += n

        def close(self):
            self.closed = True

    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with pytest.raises(Stopped):
        run(stopping(25, Stopped), checkpoint=tmp_path / "c", progress=True)
    result = run(checkpoint=tmp_path / "c", progress=True)
    assert [bar.kwargs for bar in bars] == [
        {"total": 40, "initial": start, "unit": "step", "mininterval": seconds} for start in (0, 20)]
    assert bars[1].n == 20 and all(bar.closed for bar in bars)
    assert bars[1].text[-1].endswith(f", validation {result.history[-1]['validation']:.4f}")


@pytest.mark.parametrize("settings", [{"a": np.ones(3)}, {"a": float("nan")}, {"a": {1, 2}}])
def test_settings_that_could_never_be_compared_are_refused_at_the_start(tmp_path, settings):
    with pytest.raises(ValueError, match="settings must be numbers, strings, lists and dicts without nan"):
        run(checkpoint=tmp_path / "c", settings=settings)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("extras", [{"step": 9.0}, {"loss": 1.0}, [1.0]])
def test_extras_must_be_named_and_not_as_the_historys_own_columns(extras):
    with pytest.raises(ValueError, match="a dict of named numbers"):
        run(lambda theta, rng: (noisy(theta, rng), extras))


def test_a_checkpoint_that_is_a_folder_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match="checkpoint must be a file"):
        run(stopping(1, AssertionError("a step was made")), checkpoint=tmp_path)


def test_the_generator_is_checked():
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator .*, got int"):
        fit(noisy, {"x": np.zeros(3)}, 0, steps=1, optimizer=Adam(0.1))


def test_the_loss_must_be_callable():
    with pytest.raises(TypeError, match=r"fit: loss must be callable as loss\(theta, rng\), got float"):
        fit(1.0, {"x": np.zeros(3)}, np.random.default_rng(0), steps=1, optimizer=Adam(0.1))


@pytest.mark.parametrize("loss", [lambda theta, rng: 3.0, lambda theta, rng: np.float64(rng.random()),
                                  lambda theta, rng: (np.sum(TARGET * theta["n"]), {"a": 1.0})])
def test_a_loss_that_never_met_theta_is_an_error_at_step_1(tmp_path, loss):
    with pytest.raises(ValueError, match=r"step 1: the loss gave .* does not depend on theta"):
        run(loss, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kwargs, match", [
    ({"validate": 3.0}, r"fit: validate must be callable as validate\(theta\), got float"),
    ({"optimizer": 0.1}, "fit: optimizer must be a Adam, got float"),
    ({"ema": 0.9}, "fit: ema must be a EMA, got float"),
    ({"validate": lambda theta: "low"}, "the value of validate must be one real number, got str"),
    ({"validate": lambda theta: None}, "the value of validate must be one real number, got NoneType"),
    ({"validate": lambda theta: theta["x"]}, r"the value of validate must be one real number, got shape \(3,\)"),
    ({"validate": lambda theta: 1j}, "the value of validate must be one real number, got dtype complex"),
    ({"validate": lambda theta: np.ma.masked_array(1.0, True)}, "one real number, got a masked array"),
    ({"validate": lambda theta: (1.0, {"a": "b"})}, "'a' of validate must be one real number, got str"),
    ({"validate": lambda theta: (1.0, {3: 1.0})}, "a dict of named numbers"),
    ({"loss": lambda theta, rng: (noisy(theta, rng), {"a": np.ones(2)})}, r"'a' of loss must be .*, got shape \(2,\)"),
    ({"loss": lambda theta, rng: None}, "the value of loss must be one real number, got NoneType"),
])
def test_wrong_kinds_are_named(kwargs, match):
    with pytest.raises((TypeError, ValueError), match=match):
        run(**kwargs)


def test_there_must_be_something_to_train():
    with pytest.raises(ValueError, match="theta must hold at least one array of floats"):
        fit(noisy, {"n": 7}, np.random.default_rng(0), steps=1, optimizer=Adam(0.1))


def test_a_resumed_run_may_have_a_first_loss_of_extras_and_integers(tmp_path):
    def loss(theta, rng):
        return noisy(theta, rng), {"draw": theta["x"][0] * 2, "n": 3, "b": True}

    row = run(loss, steps=10).history[0]
    assert row["n"] == 3.0 and row["b"] == 1.0 and isinstance(row["draw"], float)


NAN = float("nan")


@pytest.mark.parametrize("field, change", [
    ("step", -5), ("step", 2.5), ("step", 10**9), ("step", 41), ("step", True), ("step", None), ("step", 30),
    ("best_step", -1), ("best_step", 41), ("best_step", 2.0), ("best_value", "low"), ("best_value", [1.0]),
    ("sums", 3), ("sums", {"loss": "a"}), ("sums", {3: 1.0}), ("history", 3), ("history", [3]), ("history", [{}]),
    ("history", [{"step": 41}]), ("history", [{"step": 0}]), ("history", [{"step": 10, "loss": "a"}]),
    ("rng", None), ("rng", {}), ("rng", {"bit_generator": "PCG64"}), ("theta", {"x": np.zeros(4, np.float32), "n": 7}),
    ("theta", {"x": np.full(3, NAN, np.float32), "n": 7}), ("theta", {"x": np.zeros(3), "n": 7}), ("theta", None),
    ("theta", {"x": np.zeros(3, np.float32), "n": "7"}), ("theta", {"x": 0.0, "n": 7}), ("best", []),
    ("average", {"x": np.full(3, np.inf, np.float32), "n": 7}), ("optimizer", {"step": np.array(40)}), ("optimizer", 0),
])
def test_whole_files_with_wrong_content_name_the_file_and_the_field(tmp_path, field, change):
    path = tmp_path / "c.npz"
    run(checkpoint=path)
    save_checkpoint(path, {**load_checkpoint(path), field: change})
    refused(path, f"c.npz is a whole checkpoint, but its field '{field}' is not that of this run: ")


@pytest.mark.parametrize("key, value", [("state", {"state": -1, "inc": 3}), ("state", {"state": 2.5, "inc": 3}),
                                        ("state", {"state": 2**128, "inc": 3}), ("has_uint32", "no"),
                                        ("uinteger", 2**32)])
def test_a_generators_state_that_numpy_cannot_take_leaves_the_generator_as_it_was(tmp_path, key, value):
    path, rng = tmp_path / "c.npz", np.random.default_rng(5)
    run(checkpoint=path)
    saved, before = load_checkpoint(path), rng.bit_generator.state
    save_checkpoint(path, {**saved, "rng": {**saved["rng"], key: value}})
    refused(path, "its field 'rng' ")
    assert rng.bit_generator.state == before


def test_two_runs_on_one_checkpoint_at_once(tmp_path):
    def loss(theta, rng):
        with pytest.raises(CheckpointError, match=r"c\.npz is in use by process"):
            run(checkpoint=tmp_path / "c.npz")
        return noisy(theta, rng)

    assert bits(run(loss, steps=3, checkpoint=tmp_path / "c.npz")) == bits(run(steps=3))
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_theta_that_is_not_finite_is_refused_before_the_first_step(bad):
    theta = {"x": np.zeros(3), "parts": [np.zeros(2), np.array([[0.0, bad]])], "n": 7}
    with pytest.raises(ValueError, match=rf"fit: theta\['parts'\]\[1\] must be finite, got {bad} at index \(0, 1\)"):
        fit(noisy, theta, np.random.default_rng(0), steps=1, optimizer=Adam(0.1))
    with pytest.raises(TypeError, match="fit: theta: .* got a masked array"):
        fit(noisy, {"x": np.ma.array([1.0])}, np.random.default_rng(0), steps=1, optimizer=Adam(0.1))
    fit(lambda theta, rng: theta["a"] ** 2, {"a": 1.0}, np.random.default_rng(0), steps=1, optimizer=Adam(0.1),
        progress=False)
