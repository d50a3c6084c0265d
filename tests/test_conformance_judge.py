"""Tolerances, errors and verdicts on operations made up for it."""
import hashlib
import json

import numpy as np
import pytest

from refvdm.conformance import vectors
from refvdm.conformance.diagnose import _apart, explain
from refvdm.conformance.judge import ERROR, FAIL, MISSING, PASS, Verdict, judge, relative
from refvdm.conformance.operation import Mistake, Operation
from refvdm.conformance.report import Report, check
from refvdm.conformance.tolerance import Truth, error, truth, worst

EPS = np.finfo(float).eps


def made_up(reference, mistakes=(), accuracy=0.0, outputs=("y",)):
    return Operation("made_up", "", "", {"x": ""}, dict.fromkeys(outputs, ""), reference, lambda rng: iter(()),
                     mistakes, accuracy, "")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("accuracy", [0.0, 1e-3])
def test_the_tolerance_of_what_no_input_moves(dtype, accuracy):
    """32 √n ε |y| + 1e-10 |y| + (ε/1000 + accuracy) max |y|, n = 9."""
    y, eps = np.array([3.0, -4.0, 0.0, np.inf]), float(np.finfo(dtype).eps)
    found = truth(made_up(lambda x: y, accuracy=accuracy), {"x": np.ones(9, dtype)}, dtype).tolerances["y"]
    size = np.array([3.0, 4.0, 0.0])
    np.testing.assert_allclose(np.asarray(found[:3], float),
                               96 * eps * size + 1e-10 * size + (eps / 1000 + accuracy) * 4, rtol=1e-12)


def test_the_longest_input_counts_and_how_often_it_is_moved():
    """n = 9 of inputs of 9, 1 and 4 numbers, and 1 where there is none; once moved where an accuracy is asked for."""
    calls = []

    def reference(**inputs):
        calls.append(inputs)
        return np.array([2.0])
    for inputs, n in (({"x": np.ones(9), "a": np.ones(1), "b": np.ones((2, 2))}, 9), ({}, 1)):
        for accuracy, times in ((0.0, 7), (1e-3, 2)):
            calls.clear()
            found = truth(made_up(reference, accuracy=accuracy), inputs, np.float64).tolerances["y"]
            assert len(calls) == times
            expected = 2 * (32 * np.sqrt(n) * EPS + 1e-10 + EPS / 1000 + accuracy)
            np.testing.assert_allclose(np.asarray(found, float), expected, rtol=1e-14)


def test_the_tolerance_follows_the_condition():
    """y = x - 1 loses the digits of x that are those of 1: |Δy| is up to ε |x|, and most of it in the largest of 6."""
    x = np.array([1 + 1e-9, 1 + 1e-12, 2.0, 5e5])
    found = np.asarray(truth(made_up(lambda x: x - 1), {"x": x}, np.float64).tolerances["y"], float)
    rest = 64 * EPS * (x - 1) + 1e-10 * (x - 1) + EPS / 1000 * 5e5
    share = (found - rest) / (64 * EPS * x)
    assert np.all(share[:3] > 0.3) and np.all(share[:2] < 1.01)
    rough = np.asarray(truth(made_up(lambda x: x - 1, accuracy=1e-9), {"x": x}, np.float64).tolerances["y"], float)
    assert np.all(rough > 1e-9 * 4e5)


def test_errors_are_in_tolerances_element_by_element():
    expected, tolerance = np.array([1.0, 2.0, np.nan, np.inf, np.inf, 1.0, 0.0]), np.full(7, 0.5)
    got = np.array([2.0, 2.0, np.nan, np.inf, -np.inf, np.nan, np.inf])
    found = error({"y": got}, {"y": expected}, {"y": tolerance})
    np.testing.assert_array_equal(found["y"], [2, 0, 0, 0, np.inf, np.inf, np.inf])
    assert worst(found) == np.inf and worst({"a": np.array([1.0, 3]), "b": np.array(2.0)}) == 3 and worst({}) == 0
    assert error({"y": np.zeros(1)}, {"y": np.zeros(1)}, {"y": np.zeros(1)})["y"] == 0


def cases(operation, *xs):
    return [truth(operation, {"x": np.array(x)}, np.float64) for x in xs]


def test_every_number_is_moved_by_itself_and_integers_and_words_not_at_all():
    """Moved together, the difference of two numbers would stay."""
    found = truth(made_up(lambda x: x[:1] - x[1:]), {"x": np.array([1 + 1e-9, 1.0])}, np.float64).tolerances["y"]
    assert 0.3 < float(found[0]) / (32 * np.sqrt(2) * EPS) < 2.01

    def reference(n, word):
        assert n.dtype == np.int64 and n[0] == 3 and word == "tanh"
        return np.array([1.0])
    truth(made_up(reference), {"n": np.array([3]), "word": "tanh"}, np.float64)


def test_a_verdict_counts():
    operation = made_up(lambda x: 2 * x)
    known = cases(operation, [1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    def off(*units):
        return judge(operation, known, [{"y": case.outputs["y"] + np.array([0, unit]) * case.tolerances["y"]}
                                        for case, unit in zip(known, units)])
    verdict = off(0.9, -0.9, 0)
    assert (verdict.status, verdict.failed, verdict.cases, verdict.why) == (PASS, 0, 3, "")
    assert verdict.worst == pytest.approx(0.9, rel=1e-3) and verdict.name == "made_up"
    verdict = off(0, 1.5, 0)
    assert (verdict.status, verdict.failed) == (FAIL, 1) and verdict.worst == pytest.approx(1.5, rel=1e-3)
    assert "case 1: y[1] is 8." in verdict.why and "1 of 2 numbers differ" in verdict.why
    assert verdict.tolerance == pytest.approx(1e-10, rel=0.01) == relative(known)
    exact = [Truth({}, {"y": np.array([1.0])}, {"y": np.array([0.5])})] * 2
    verdict = judge(operation, exact, [{"y": np.array([1.5])}, {"y": np.array([1.0])}])
    assert (verdict.status, verdict.worst) == (PASS, 1.0)  # up to 1 tolerance agrees
    with pytest.raises(ValueError, match="zip"):
        judge(operation, exact, [{"y": np.array([1.0])}])
    assert judge(operation, [], [])[:6] == ("made_up", PASS, 0, 0, 0.0, "")
    spread = [Truth({}, {"y": np.array([1.0, 0.0, 2.0, -4.0])}, {"y": np.array([1.0, 9.0, 4.0, 12.0])})]
    assert relative(spread) == 2.0 and np.isnan(relative([]))


DOUBLE = Mistake("it is doubled", outputs=lambda i, o: {"y": 2 * o["y"]})
SHIFTED = Mistake("x is one too large", inputs=lambda x: {"x": x + 1})
SQUARE = Mistake("it is the square", instead=lambda x: x * x)
POSITIVE = Mistake("negative ones are 0", outputs=lambda i, o: {"y": np.maximum(o["y"], 0)})
BROKEN = Mistake("it cannot be made", inputs=lambda x: {"x": x[99]})
OTHER_SHAPE = Mistake("another shape", instead=lambda x: x[:1])


def said(change, xs=((1.0, 2.5), (-2.0, 3.0)), mistakes=(BROKEN, OTHER_SHAPE, DOUBLE, SHIFTED, SQUARE, POSITIVE)):
    operation = made_up(lambda x: 3 * x, mistakes)
    known = cases(operation, *xs)
    answers = [{"y": change(case.inputs["x"])} for case in known]
    failed = [i for i, (case, got) in enumerate(zip(known, answers))
              if worst(error(got, case.outputs, case.tolerances)) > 1]
    return explain(operation, known, answers, failed)


def test_mistakes_are_found_alone_and_in_pairs_in_either_order():
    assert said(lambda x: 6 * x) == "all 2 match the reference if it is doubled"
    assert said(lambda x: 3 * x + 3) == "all 2 match the reference if x is one too large"
    assert said(lambda x: 6 * x + 6) == "all 2 match the reference if it is doubled and x is one too large"
    assert said(lambda x: 2 * (x + 1) ** 2, mistakes=(SQUARE, DOUBLE)).startswith("no known mistake")
    assert said(lambda x: 2 * x * x) == "all 2 match the reference if it is doubled and it is the square"
    later = Mistake("then 1 is added", outputs=lambda i, o: {"y": o["y"] + 1})
    assert said(lambda x: 6 * x + 2, mistakes=(DOUBLE, later)).endswith("if then 1 is added and it is doubled")
    assert said(lambda x: 6 * x + 1, mistakes=(DOUBLE, later)).endswith("if it is doubled and then 1 is added")


def test_two_other_formulas_are_joined_number_by_number():
    first = Mistake("the first is 7", instead=lambda x: np.append(7 + 0 * x[:1], 3 * x[1:]))
    last = Mistake("the last is squared", instead=lambda x: np.append(3 * x[:-1], x[-1:] ** 2))
    assert said(lambda x: np.array([7, x[1] ** 2]), mistakes=(first, last)) == (
        "all 2 match the reference if the first is 7 and the last is squared")


def test_what_explains_a_part_of_the_cases_is_said_so():
    assert said(lambda x: np.maximum(3 * x, 0)) == "the 1 that fails matches the reference if negative ones are 0"
    half = said(lambda x: 6 * x if x[0] < 0 else 3 * x)
    assert half.startswith("the 1 that fails matches the reference if it is doubled, though that would show in")
    some = said(lambda x: 6 * x if x[0] < 0 else 9 * x)
    assert some.startswith(
        "1 of the 2 that fail match the reference if it is doubled, the others do not; case 0: y[0] is 9, ")
    none = said(lambda x: np.sin(x))
    assert none.startswith("no known mistake explains it; case 0: y[0] is 0.841471, should be 3 (")


def test_a_tolerance_is_as_wide_for_what_a_mistake_makes_larger():
    huge = Mistake("it is a million times as large", outputs=lambda i, o: {"y": 1e6 * o["y"]})
    assert said(lambda x: 3e6 * x * (1 + 5e-11), mistakes=(huge,)).startswith("all 2 match the reference if it")
    assert said(lambda x: 3e6 * x * (1 + 1.5e-10), mistakes=(huge,)).startswith("no known mistake")


@pytest.mark.parametrize("got, told", [(1.0, "all 1 match the reference if then"), (1.5, "no known mistake explains")])
def test_where_all_is_zero_no_number_is_typical(got, told):
    operation = made_up(lambda x: 0 * x, (LATER,))
    assert explain(operation, cases(operation, [1.0]), [{"y": np.array([got])}], [0]).startswith(told)


LATER = Mistake("then 1 is added", outputs=lambda i, o: {"y": o["y"] + 1})


def test_a_pair_must_make_the_first_wrong_answer_and_the_best_pair_is_told():
    """Two orders of two mistakes: one that the first answer does not show is not looked for in the second. And a pair
    that makes the first answer alone does not end the search for one that makes both."""
    def second(x):
        return np.sin(x) if x[0] > 0 else 6 * x + 2
    assert said(second, mistakes=(DOUBLE, LATER)).startswith("no known mistake explains it; case 0")
    some = Mistake("1 is added to positive ones", outputs=lambda i, o: {"y": o["y"] + (o["y"] > 0)})
    assert said(lambda x: 6 * x + 1, mistakes=(DOUBLE, some, LATER)) == (
        "all 2 match the reference if it is doubled and then 1 is added")


@pytest.mark.parametrize("change, told", [
    (lambda x: 6 * x, "y is 2 times what it should be, everywhere"),
    (lambda x: -3 * x, "y is -1 times what it should be, everywhere"),
    (lambda x: 3 * x * (2 if x[0] > 0 else -0.5), "y is a factor off, another in every case: 2, -0.5"),
    (lambda x: 3 * x + 1, "y is a constant off, in the first case 1"),
    (lambda x: 3 * x - (0.1 if x[0] > 0 else 2), "y is a constant off, in the first case -0.1"),
    (lambda x: 3 * np.abs(x), "y is right but for the signs of some"),
    (lambda x: 3 * x[::-1], "y holds the right numbers in another order"),
    (lambda x: 3 * x + 1e-4 * np.abs(x[1]) * 3, "y agrees to 4.0 digits of its largest number: an approximation"),
    (lambda x: 3 * x * (1 + 2e-4), "y agrees to 3.7 digits of its largest number: an approximation"),
    (lambda x: 3 * x * (1 + 2e-8), "to float32's precision all agree: something inside is float32 (dtype = "),
])
def test_what_is_seen_without_a_mistake(change, told):
    text = said(change, xs=((10.0, 25.0), (-20.0, 30.0)), mistakes=())
    assert text.startswith(f"no known mistake explains it; {told}") and text.split("; ")[2].startswith("case ")


def test_one_number_a_case_shows_no_factor_of_its_own_and_no_constant():
    """Any wrong number is some factor and some constant off."""
    text = said(lambda x: 3 * x + 1, xs=((1.0,), (-2.0,)), mistakes=())
    assert text.startswith("no known mistake explains it; case 0: y[0] is 4, should be 3 (")
    last = said(lambda x: 3 * x * np.array([1, 1.0015]), mistakes=())  # 2.8 digits are another number
    assert last.startswith("no known mistake explains it; case 0: y[1] is ")
    assert "y is 2 times" in said(lambda x: 6 * x, xs=((1.0,), (-2.0,)), mistakes=())


def test_where_nan_comes_from_is_guessed():
    operation = made_up(lambda x: np.log(np.abs(x)))
    known = cases(operation, [-1.5, 2.0])
    why = judge(operation, known, [{"y": np.array([np.nan, np.log(2.0)])}]).why
    assert "y[0] is nan, should be 0.405465 (the logarithm or the root of a negative number?; 1 of 2" in why


def test_outputs_are_explained_one_by_one():
    """Each by its own mistake, or what is seen of it; the one that agrees is said to."""
    first = Mistake("y is doubled", outputs=lambda i, o: {"y": 2 * o["y"]})
    operation = made_up(lambda x: (x, 3 * x, x**2), (first,), outputs=("y", "z", "w"))
    known = cases(operation, [1.0, 2.5], [-2.0, 3.0])
    answers = [{"y": 2 * x, "z": 3 * x + 1, "w": x**2} for x in (case.inputs["x"] for case in known)]
    text = explain(operation, known, answers, [0, 1])
    assert text.startswith("no one mistake explains it all; y matches if y is doubled; "
                           "z is a constant off, in the first case 1; case 0: y[0] is 2, should be 1 (")
    two = made_up(lambda x: (x, 3 * x), (first,), outputs=("y", "z"))
    both = explain(two, cases(two, [1.0, 2.5], [-2.0, 3.0]), [{"y": y["y"], "z": y["z"]} for y in answers], [0, 1])
    assert both + ", w agrees" == text
    assert "2 of 2 numbers differ), z[0] is 4, should be 3 (" in text and text.endswith(", w agrees")


def test_numbers_are_shown_with_as_many_digits_as_tell_them_apart():
    assert _apart(1 / 3, 0.5) == ("0.333333", "0.5") and _apart(4.0, 3.0) == ("4", "3")
    assert _apart(1.0, 1 + 1e-9) == ("1", "1.000000001")
    assert _apart(1.00001, 1.0) == ("1.00001", "1") and _apart(1.000001, 1.0) == ("1.000001", "1")
    assert _apart(0.1, np.nextafter(0.1, 1)) == ("0.10000000000000001", "0.10000000000000002")


def test_a_report_for_a_machine():
    """JSON has no nan and no inf: they are words. Each verdict says whether its failure is expected."""
    report = Report([Verdict("a", FAIL, 2, 1, 1.5, "why", 1e-10), Verdict("b", ERROR, 2, 2, np.inf, "", np.nan)],
                    frozenset({"a"}))
    got = json.loads(report.json(adapter="mine"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert got["verdicts"] == [
        {"name": "a", "status": "FAIL", "cases": 2, "failed": 1, "worst": 1.5, "why": "why", "tolerance": 1e-10,
         "expected_to_fail": True},
        {"name": "b", "status": "error", "cases": 2, "failed": 2, "worst": "inf", "why": "", "tolerance": "nan",
         "expected_to_fail": False}]
    assert got["status"] == report.status == 1 and got["adapter"] == "mine"
    whole = hashlib.sha256((vectors.SHIPPED / "SHA256SUMS").read_bytes()).hexdigest()
    assert got["vectors"] == whole[:12] and got["numpy"] == np.__version__


@pytest.mark.parametrize("statuses, expected, status", [
    ("P", "", 0), ("F", "", 1), ("E", "", 1), ("M", "", 2), ("", "", 2), ("MP", "", 0), ("PF", "", 1),
    ("PF", "1", 0), ("F", "0", 0), ("PF", "0", 1), ("P", "0", 1), ("FF", "0", 1), ("PE", "1", 0), ("M", "0", 2)])
def test_the_exit_status(statuses, expected, status):
    """0: all that is there passes or fails as expected; 1: something else fails, or passes; 2: nothing was compared."""
    of = {"P": PASS, "F": FAIL, "E": ERROR, "M": MISSING}
    verdicts = [Verdict(str(i), of[letter], 1, 0, 0.0, "") for i, letter in enumerate(statuses)]
    assert Report(verdicts, frozenset(expected)).status == status


def test_what_is_missing_has_no_cases():
    (verdict,) = check(type("Nothing", (), {}), only=["q_step"]).verdicts
    assert verdict[:4] == ("q_step", MISSING, 0, 0) and verdict.why == "" and np.isnan(verdict.worst)


@pytest.mark.parametrize("status, compared", [(PASS, True), (FAIL, True), (ERROR, False), (MISSING, False)])
def test_the_table_explains_tolerances_where_there_are_any(status, compared):
    table = Report([Verdict("a", status, 2, 1, 1.5, "", 1e-10)]).table()
    assert ("An error of up to 1 tolerance agrees." in table) == ("1e-10" in table) == compared
