"""Checkpoints: every tree comes back as it was, and a file that cannot be used is said to be so and stays untouched."""
import json
import os
import stat
import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refvdm.checkpoint import CheckpointError, load_checkpoint, save_checkpoint, whole

plain = st.one_of(st.none(), st.booleans(), st.integers(-2**130, 2**130), st.floats(), st.text(max_size=5))
arrays = hnp.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.int8, bool, np.uint64]),
                    hnp.array_shapes(min_dims=0, max_side=3))
trees = st.recursive(st.one_of(plain, arrays), lambda t: st.one_of(
    st.lists(t, max_size=3), st.lists(t, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=4), t, max_size=3)), max_leaves=8)


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return type(a) is type(b) and (a == b or repr(a) == repr(b) == 'nan')


@given(tree=trees)
def test_every_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("t") / "c.npz"
    save_checkpoint(path, tree)
    assert same(tree, load_checkpoint(path))
    assert os.listdir(path.parent) == ["c.npz"]


def test_a_numpy_scalar_comes_back_as_an_array(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": np.float32(0.1)})
    assert load_checkpoint(tmp_path / "c")["x"] == np.float32(0.1)


def test_other_leaves_are_refused_and_nothing_is_left_behind(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": 1})
    for leaf in ({1, 2}, object(), np.array([None]), 1j):
        with pytest.raises(TypeError, match="expected arrays, numbers"):
            save_checkpoint(tmp_path / "c", {"x": leaf})
    assert load_checkpoint(tmp_path / "c") == {"x": 1}
    assert os.listdir(tmp_path) == ["c"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "c", {"x": 1})

    def full(*args):
        raise OSError("no space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="no space"):
                save_checkpoint(tmp_path / "c", {"x": 2})
    assert load_checkpoint(tmp_path / "c") == {"x": 1}
    assert os.listdir(tmp_path) == ["c"]


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(tmp_path):
    for name, age in ((".c.npz.old.tmp", 700), (".c.npz.new.tmp", 0), (".other.npz.old.tmp", 700)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    save_checkpoint(tmp_path / "c.npz", {"x": 1})
    assert sorted(os.listdir(tmp_path)) == [".c.npz.new.tmp", ".other.npz.old.tmp", "c.npz"]


def test_the_file_holds_no_pickle_and_has_ordinary_permissions(tmp_path):
    save_checkpoint(tmp_path / "sub" / "c.npz", {"x": np.arange(3.0), "note": "a"})
    with np.load(tmp_path / "sub" / "c.npz", allow_pickle=False) as members:
        assert set(members.files) == {"header", "0"}
        assert json.loads(members["header"].tobytes())["version"] == 1
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "sub" / "c.npz").stat().st_mode & 0o777 == 0o666 & ~mask


def test_missing_is_not_corrupt(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nothing")


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(tmp_path / "c.npz", {"theta": np.arange(400.0), "step": 3})
    return tmp_path / "c.npz"


def unusable(path, match):
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 1, 30, 200, 1000, -1])
def test_truncated(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    unusable(saved, "corrupt, truncated or not a checkpoint")


def test_flipped_bits_never_pass_unseen(saved):
    """Every byte in turn: the file is refused, or what is read is what was written."""
    whole = saved.read_bytes()
    for i in range(0, len(whole), 7):
        saved.write_bytes(whole[:i] + bytes([whole[i] ^ 0x10]) + whole[i + 1 :])
        try:
            tree = load_checkpoint(saved)
        except CheckpointError:
            continue
        assert same(tree, {"theta": np.arange(400.0), "step": 3}), i


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "a.npz", weights=np.ones(3))
    unusable(tmp_path / "a.npz", "not a refvdm checkpoint: it holds weights")
    np.savez(tmp_path / "b.npz", header=np.frombuffer(b'{"format": "other"}', np.uint8))
    unusable(tmp_path / "b.npz", "names another format")
    np.savez(tmp_path / "c.npz", header=np.frombuffer(b"[1]", np.uint8))
    unusable(tmp_path / "c.npz", "names another format")
    np.save(tmp_path / "d.npy", np.ones(3))
    unusable(tmp_path / "d.npy", "not a checkpoint")
    (tmp_path / "e").write_text("notes")
    unusable(tmp_path / "e", "not a checkpoint")


def test_newer_versions(saved):
    header = {"format": "refvdm checkpoint", "version": 2, "tree": {"value": 1}}
    np.savez(saved, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    unusable(saved, "version 2, newer than this refvdm reads")


@pytest.mark.parametrize("tree, place", [
    ({"a": [{(1, 2): 0}]}, r"\(1, 2\) of type tuple in \['a'\]\[0\]"), ({np.int64(1): 0}, "int64 in the root"),
    ({"a": (np.zeros(2, [("x", object)]),)}, r"\['a'\]\[0\]"), ([np.array(["s"])], r"dtype <U1.* at \[0\]"),
    ({"a": np.ma.masked_array([1.0], [True])}, r"a masked array.* at \['a'\]"), (np.str_("a"), "at the root"),
    ({"a": np.zeros(1, "M8[s]")}, r"at \['a'\]")])
def test_what_could_not_be_loaded_is_refused_when_saving(tmp_path, tree, place):
    with pytest.raises(TypeError, match=f"save_checkpoint: .*{place}"):
        save_checkpoint(tmp_path / "c", tree)
    assert not os.listdir(tmp_path)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "c", {"x": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device; the checkpoint was not written.*: '.*/c'") as caught:
        save_checkpoint(tmp_path / "c", {"x": 2})
    assert caught.value.errno == 28 and caught.value.filename == str(tmp_path / "c")
    assert load_checkpoint(tmp_path / "c") == {"x": 1} and os.listdir(tmp_path) == ["c"]


def earlier(path, header, **arrays):
    """A file as it was before there was a digest."""
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def test_earlier_files_are_read(tmp_path):
    earlier(tmp_path / "c.npz", {"format": "refvdm checkpoint", "version": 1, "tree": {"list": [{"array": 0}]}},
            **{"0": np.arange(6.0).reshape(2, 3)})
    assert same(load_checkpoint(tmp_path / "c.npz"), [np.arange(6.0).reshape(2, 3)])


def test_what_zip_readers_take_for_an_archives_end_is_not_enough(saved):
    """They read past a comment that is missing, and bytes behind the end: a digest cut off, a file grown."""
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-71])
    with np.load(saved) as members:
        assert len(members["0"]) == 400
    unusable(saved, "it does not end as it should")
    earlier(saved, {"format": "refvdm checkpoint", "version": 1, "tree": {"value": 1}})
    assert load_checkpoint(saved) == 1
    saved.write_bytes(saved.read_bytes() + bytes(2))
    with np.load(saved) as members:
        assert members.files == ["header"]
    unusable(saved, "it does not end as it should")


@pytest.mark.parametrize("version, read", [((1, 0), True), ((2, 0), True), ((3, 0), False)])
def test_members_of_numpys_format_1_and_2_are_read(tmp_path, version, read):
    import zipfile
    header = json.dumps({"format": "refvdm checkpoint", "version": 1, "tree": {"array": 0}}).encode()
    with zipfile.ZipFile(tmp_path / "c", "w") as archive:
        for name, array in (("header", np.frombuffer(header, np.uint8)), ("0", np.arange(5.0))):
            with archive.open(f"{name}.npy", "w") as member, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                np.lib.format.write_array(member, array, version=version)
    if read:
        assert same(load_checkpoint(tmp_path / "c"), np.arange(5.0))
    else:
        unusable(tmp_path / "c", "corrupt")


def test_an_interrupt_behind_the_move_is_an_interrupt(tmp_path, monkeypatch):
    """The temporary name is gone then, the new file in place."""
    move = os.replace

    def interrupted(*names):
        move(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "c", {"x": 2})
    assert load_checkpoint(tmp_path / "c") == {"x": 2} and os.listdir(tmp_path) == ["c"]
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "w") as path:
        path.write_text("all")
    assert (tmp_path / "w").read_text() == "all" and sorted(os.listdir(tmp_path)) == ["c", "w"]
    with pytest.raises(LookupError, match="^before a byte$"), whole(tmp_path / "v"):
        raise LookupError("before a byte")


@pytest.mark.parametrize("version", [float("nan"), True, 0, -3, 1.0, "1", None])
def test_versions_that_are_none(tmp_path, version):
    earlier(tmp_path / "c.npz", {"format": "refvdm checkpoint", "version": version, "tree": {"value": 1}})
    unusable(tmp_path / "c.npz", "version must be an integer of at least 1")


@pytest.mark.parametrize("tree", [{"set": []}, {"value": [1]}, {"value": {}}, {"array": -1}, {"array": True},
                                  {"array": 7}, {}, {"list": [], "tuple": []}, {"dict": [[[1], {"value": 1}]]}, 3])
def test_headers_that_describe_no_tree(tmp_path, tree):
    earlier(tmp_path / "c.npz", {"format": "refvdm checkpoint", "version": 1, "tree": tree}, **{"0": np.ones(2)})
    unusable(tmp_path / "c.npz", "corrupt, truncated or not a checkpoint")


@pytest.mark.parametrize("old, new", [(b"(9000,)", b"(1000,)"), (b"<f8", b"<f4"), (b"(9000,)", b"(9**9,)"),
                                      (b"(9000,), }       ", b"(134217728,), }  ")])
def test_a_members_header_is_held_against_its_bytes(tmp_path, old, new):
    """Even with a CRC that fits: half the numbers is not the array, and a promised GiB is not allocated."""
    import tracemalloc
    import zipfile
    earlier(tmp_path / "a.npz", {"format": "refvdm checkpoint", "version": 1, "tree": {"array": 0}},
            **{"0": np.arange(9000.0)})
    with zipfile.ZipFile(tmp_path / "a.npz") as good, zipfile.ZipFile(tmp_path / "c.npz", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            bad.writestr(name, content.replace(old, new) if name == "0.npy" else content)
    assert same(load_checkpoint(tmp_path / "a.npz"), np.arange(9000.0))
    tracemalloc.start()
    unusable(tmp_path / "c.npz", "corrupt")
    assert tracemalloc.get_traced_memory()[1] < 3e6
    tracemalloc.stop()


def test_compressed_members_are_refused(tmp_path):
    header = {"format": "refvdm checkpoint", "version": 1, "tree": {"array": 0}}
    np.savez_compressed(tmp_path / "c.npz", header=np.frombuffer(json.dumps(header).encode(), np.uint8),
                        **{"0": np.zeros(10**6)})
    unusable(tmp_path / "c.npz", "does not fit into the file")


def test_single_bits_of_a_large_file_never_pass_unseen(tmp_path):
    tree = {"theta": np.random.default_rng(0).standard_normal(9000), "step": 3}
    save_checkpoint(tmp_path / "c", tree)
    whole, rng = (tmp_path / "c").read_bytes(), np.random.default_rng(1)
    assert len(whole) > 2**16
    for earlier_file in (False, True):
        data = whole[:-73] + b"\0\0" if earlier_file else whole
        for bit in rng.integers(8 * len(data), size=150):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            (tmp_path / "c").write_bytes(flipped)
            try:
                read = load_checkpoint(tmp_path / "c")
            except CheckpointError:
                assert (tmp_path / "c").read_bytes() == bytes(flipped)
            else:  # zip has bytes that mean nothing, and an earlier file no digest over them
                assert earlier_file and same(read, tree), bit


def test_a_pipe_is_no_checkpoint_and_stays(tmp_path):
    """Moving the new file into place would replace it, as it would /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    for call in (lambda: save_checkpoint(tmp_path / "pipe", {"x": 1}), lambda: load_checkpoint(tmp_path / "pipe")):
        with pytest.raises(ValueError, match="path must be a file, .*pipe is no ordinary file"):
            call()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("array", [np.array(["a"]), np.zeros(3, "V0"), np.zeros(2, [("a", "f8")]),
                                   np.array(["2020"], "M8[Y]")])
def test_members_that_are_no_numbers_are_refused(tmp_path, array):
    earlier(tmp_path / "c.npz", {"format": "refvdm checkpoint", "version": 1, "tree": {"array": 0}}, **{"0": array})
    unusable(tmp_path / "c.npz", "which are no numbers")
