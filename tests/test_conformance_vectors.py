"""Arrays as JSON, the files of cases and answers, and their judge."""
import hashlib
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refvdm.conformance import OPERATIONS, vectors, wire
from refvdm.conformance.__main__ import main
from refvdm.conformance.adapter import WrongAnswer

EXTENDED = np.finfo(np.longdouble).eps < 1e-18


@given(st.lists(st.floats(width=64), max_size=6), st.sampled_from(["float64", "float32"]))
def test_arrays_come_back_to_the_bit(numbers, dtype):
    with np.errstate(over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.array(numbers, dtype)
    back = wire.loads(wire.dumps({"x": x, "word": "tanh", "n": 3}))
    assert back["x"].dtype == x.dtype and back["word"] == "tanh" and back["n"] == 3
    nan = np.isnan(x)
    assert np.array_equal(np.isnan(back["x"]), nan) and np.array_equal(
        back["x"][~nan].view(np.uint8), x[~nan].view(np.uint8))
    assert wire.loads(wire.dumps(np.arange(6).reshape(2, 3))).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert "0.1," in wire.dumps(np.array([0.1, 0], np.float32))  # shortest of its own dtype


@pytest.mark.parametrize("change, message", [
    ({"dtype": "float16"}, "dtype must be one of float64, float32, int64, got 'float16'"),
    ({"dtype": ["float64"]}, r"dtype must be one of .*, got \['float64'\]"),
    ({"shape": 2}, "shape must be a list of integers, got 2"),
    ({"shape": [2.0]}, r"shape must be a list of integers, got \[2.0\]"),
    ({"shape": [True, 2]}, r"shape must be a list of integers, got \[True, 2\]"),
    ({"shape": [-1, -2]}, r"shape must be a list of integers, got \[-1, -2\]"),
    ({"shape": [3]}, r"shape \[3\] needs 3 numbers in data, got 2"),
    ({"shape": []}, r"shape \[\] needs 1 numbers in data, got 2"),
    ({"data": 1.5}, r"shape \[2\] needs 2 numbers in data, got 1.5"),
    ({"data": [1, "Infinity"]}, "data must hold numbers of dtype float64, got 'Infinity'"),
    ({"data": [1, True]}, "data must hold numbers of dtype float64, got True"),
    ({"data": [1, [2]]}, r"data must hold numbers of dtype float64, got \[2\]"),
    ({"data": [1, None]}, "data must hold numbers of dtype float64, got None"),
    *(({"dtype": "int64", "data": [1, bad]}, f"data must hold numbers of dtype int64, got {bad!r}")
      for bad in (2.0, "nan", "inf", "-inf"))])
def test_arrays_that_are_none_are_refused_by_name(change, message):
    whole = {"dtype": "float64", "shape": [2], "data": [1, "-inf"]}
    assert wire.decode(whole).tolist() == [1, -np.inf] and wire.decode({**whole, "data": [1, 2]}).dtype == np.float64
    with pytest.raises(ValueError, match=f"^{message}$"):
        wire.decode([{"x": {**whole, **change}}])


def test_what_is_no_array_is_itself():
    """Three keys make an array; any other dict is a dict."""
    assert wire.decode({"dtype": "a", "shape": "b"}) == {"dtype": "a", "shape": "b"}
    assert wire.encode((np.float32(0.5), np.bool_(True), None, [np.array([True])])) == [
        0.5, True, None, [{"dtype": "int64", "shape": [1], "data": [1]}]]
    with pytest.raises(ValueError, match="JSON"):
        wire.dumps({"a number outside an array": np.nan})
    assert wire.encode(np.array(np.nan)) == {"dtype": "float64", "shape": [], "data": ["nan"]}


def test_shipped_vectors_are_the_references_to_the_last_digit(tmp_path):
    """Outputs anew from the files' inputs; the last digit where the platform has extended precision."""
    shipped = vectors.read(vectors.SHIPPED)
    assert list(shipped) == list(OPERATIONS)
    for name, cases in shipped.items():
        for drawn, case in zip(OPERATIONS[name].fixed_cases(), cases, strict=True):
            for key, x in case.inputs.items():  # up to the last bits of a matrix product
                assert isinstance(x, str) and x == drawn[key] or np.allclose(x, drawn[key], rtol=1e-12, atol=1e-14), key
            anew = OPERATIONS[name].answer(case.inputs)
            for key, y in case.outputs.items():
                if EXTENDED:
                    np.testing.assert_array_equal(np.asarray(anew[key], np.float64), y, err_msg=f"{name} {key}")
                else:
                    assert np.all(np.abs(np.asarray(anew[key], np.float64) - y) <= case.tolerances[key])
    size = sum(file.stat().st_size for file in vectors.SHIPPED.iterdir())
    assert size < 800_000


def test_vectors_say_what_they_separate_and_verify_judges(tmp_path, capsys):
    assert main(["vectors", str(tmp_path / "v")]) == 0
    document = json.loads((tmp_path / "v" / "q_step.json").read_text(encoding="utf-8"))
    assert document["flags"]["m0"] == "the second output is a standard deviation"
    assert all(case["flags"] == list(document["flags"]) for case in document["cases"])
    assert document["number_of_cases"] == len(document["cases"]) == 3
    answers = {name: [{key: wire.encode(y) for key, y in case.outputs.items()} for case in cases]
               for name, cases in vectors.read(tmp_path / "v").items() if name.startswith("q_")}
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers))
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 0
    for case in answers["q_step"]:
        case["var"]["data"] = [v**0.5 for v in case["var"]["data"]]
    answers["q_marginal"].pop()
    file.write_text(json.dumps(answers))
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 1
    out = capsys.readouterr().out
    assert "the second output is a standard deviation" in out and "an answer to each case" in out
    for bad in ("[]", "{", '{"nothing": []}'):
        file.write_text(bad)
        assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    file.write_text("{}")
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    with (tmp_path / "v" / "q_step.json").open("a") as changed:
        changed.write(" ")
    assert main(["verify", str(tmp_path / "v"), str(file)]) == 2
    assert "is not the file that SHA256SUMS describes" in capsys.readouterr().err


def test_every_shipped_file_is_as_the_schema_says():
    """The schema's own words, read by hand: no validator is needed for so few of them."""
    schema = json.loads((vectors.SHIPPED / "schema.json").read_text())

    def holds(x, rule):
        rule = schema["$defs"][rule["$ref"].split("/")[-1]] if "$ref" in rule else rule
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
        if "oneOf" in rule:
            return sum(holds(x, one) for one in rule["oneOf"]) == 1
        if "enum" in rule or "const" in rule:
            return x in rule.get("enum", [rule.get("const")])
        if not isinstance(x, kinds[rule["type"]]):
            return False
        if isinstance(x, list):
            return all(holds(y, rule["items"]) for y in x)
        if isinstance(x, dict):
            own, rest = rule.get("properties", {}), rule.get("additionalProperties", {})
            return set(rule.get("required", ())) <= set(x) and all(
                holds(y, own[key]) if key in own else bool(rest) and holds(y, rest) for key, y in x.items())
        return True
    files = [file for file in vectors.SHIPPED.glob("*.json") if file.name != "schema.json"]
    assert {file.stem for file in files} == set(OPERATIONS)
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        assert holds(document, schema), file
        for case in document["cases"]:
            y, tolerance = ([v for x in case[key].values() for v in x["data"]] for key in ("outputs", "tolerances"))
            largest = max(b / abs(a) for a, b in zip(y, tolerance) if a != 0) / 2**-52
            assert abs(case["condition"] / largest - 1) < 0.02 and all(b > 0 for b in tolerance)
        document["cases"][0]["outputs"][next(iter(document["outputs"]))].pop("dtype")
        assert not holds(document, schema)


@settings(max_examples=30)
@given(st.recursive(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
                        ["q_step", "prior_kl", "kl", "mean", "var", "dtype", "shape", "data"]), inner, max_size=4)),
                    max_leaves=8))
def test_no_file_of_answers_crashes_verify(tmp_path_factory, answers):
    file = tmp_path_factory.mktemp("a") / "answers.json"
    file.write_text(json.dumps(answers))
    assert main(["verify", str(vectors.SHIPPED), str(file)]) in (1, 2)


@pytest.mark.parametrize("text", ["[]", '{"version": 2}'])
def test_a_file_that_is_none_of_cases_is_named(tmp_path, text):
    (tmp_path / "q_step.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  q_step.json\n")
    with pytest.raises(ValueError, match="q_step.json is no file of cases"):
        vectors.read(tmp_path)


def test_sums_that_are_none_are_named(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("garbage\n")
    with pytest.raises(ValueError, match="SHA256SUMS must hold digests and names, got 'garbage'"):
        vectors.read(tmp_path)


def test_answers_nested_beyond_reason_are_no_json(tmp_path):
    (tmp_path / "answers.json").write_text("[" * 100_000)
    with pytest.raises(WrongAnswer, match="is no JSON"):
        vectors.Answers(tmp_path / "answers.json")
