"""The register of the lecture: complete, in order, pointing at what exists, and honest about what it imports."""

import ast
import importlib
import inspect
import pathlib
import re
import warnings

import pytest

import refvdm.lecture
from refvdm.lecture import PRINTED, SECTIONS, Equation, equations

SPEC = ("__init__", "equation", "flows", "hvae", "neural_ode", "adjoint", "vdm", "loss")
FILES = [pathlib.Path(refvdm.lecture.__file__).with_name(f"{name}.py") for name in SPEC]
TESTS = [
    pathlib.Path(__file__).with_name(f"test_lecture_spec_{part}.py") for part in ("flows", "hvae", "neural_ode", "vdm")
]


def resolve(dotted):
    """The public object of that name: attributes before modules, as refvdm.ode.adjoint is a function and a file."""
    thing = importlib.import_module("refvdm")
    path = "refvdm"
    for part in dotted.split(".")[1:]:
        path += f".{part}"
        thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(path)
    return thing


def leading(number):
    """13.28 of "13.28 KL_t", "13.25 posterior" or "after 13.17 jump"; None of what has a section for a number."""
    found = re.search(r"\b13\.(\d+)(?!\.?\d)", number)
    return int(found[1]) if found else None


def test_13_1_to_13_29_are_all_registered():
    numbers = [equation.number for equation in equations()]
    assert [n for n in range(1, 30) if f"13.{n}" not in numbers] == []
    assert len(set(numbers)) == len(numbers)


def test_13_1_to_13_29_come_in_the_order_of_the_lecture():
    """By section, and within every section each equation of the lecture before the next; what has no number beside
    its neighbours.
    """
    sections = [equation.section for equation in equations()]
    assert sections == sorted(sections)
    assert sorted(set(sections)) == ["§13.1", "§13.2", "§13.3", "§13.4.1", "§13.4.2", "§13.4.3"]
    assert set(sections) == {number for number, _ in SECTIONS}
    assert all(len({title for n, title in SECTIONS if n == number}) == 1 for number, _ in SECTIONS)
    exact = [int(e.number[3:]) for e in equations() if re.fullmatch(r"13\.\d+", e.number)]
    assert exact == sorted(exact) == list(range(1, 30))
    for last, numbers in {
        "§13.1": [1],
        "§13.2": range(2, 6),
        "§13.3": range(6, 18),
        "§13.4.1": range(18, 22),
        "§13.4.2": range(22, 25),
        "§13.4.3": range(25, 30),
    }.items():
        here = [leading(e.number) for e in equations() if e.section == last]
        assert set(here) - {None} == set(numbers)


@pytest.mark.parametrize("entry", equations(), ids=lambda entry: entry.number)
def test_13_x_every_entry(entry):
    """What an entry says is what its function is; its machine exists and is public; its statement is one line of
    text.
    """
    assert isinstance(entry, Equation) and entry.kind in ("equation", "identity")
    assert (
        entry.function.__name__ == entry.name
        and getattr(inspect.getmodule(entry.function), entry.name) is entry.function
    )
    assert entry.function.__doc__.startswith(f"{entry.number}: {entry.statement}")
    assert "\n" not in entry.statement and not entry.statement.endswith(".")
    assert (f"\n\nPrinted: {entry.printed}." in entry.function.__doc__) == (entry.printed is not None)
    assert (f"\n\nIn the machine: {entry.machine}." in entry.function.__doc__) == (entry.machine is not None)
    if entry.machine is not None:
        assert callable(resolve(entry.machine))
        owner, _, name = entry.machine.rpartition(".")
        home = resolve(owner)
        assert not inspect.ismodule(home) or name in getattr(home, "__all__", [name])


def test_13_x_a_machines_file_says_of_what_it_is_the_machine():
    """In its first lines, so that one hop leads either way."""
    for entry in equations():
        if entry.machine is not None:
            thing = resolve(entry.machine)
            file = inspect.getmodule(inspect.unwrap(getattr(thing, "fget", None) or thing))
            assert re.search(r"13\.\d", file.__doc__[:300]), (entry.number, file.__name__)


def test_13_x_docstrings_of_the_source_are_kept():
    text = refvdm.lecture.loss.diffusion_estimate.__doc__
    assert text.index("One draw") < text.index("Printed: ") < text.index("In the machine: ")
    assert "None" not in text and "\n\n\n" not in text


def test_13_x_printed_forms_stand_beside_a_note():
    """Every function of a printed form belongs to an equation which says in words what is printed."""
    notes = {equation.number: equation.printed for equation in equations()}
    assert all(notes[number] for number in PRINTED)
    assert all(function.__name__.startswith("printed_") for function in PRINTED.values())
    assert {
        "13.1 det",
        "13.1 minors",
        "13.7",
        "13.8",
        "13.9",
        "13.13",
        "13.15",
        "13.16",
        "13.20",
        "13.21",
        "13.23",
        "13.24",
        "13.28",
        "13.29",
        "§13.4.2 restriction 3",
        "before 13.24",
    } <= set(PRINTED)


def test_13_x_every_entry_has_a_test_that_calls_it():
    """Each function of the register, and each printed form, is called in the test files by name."""
    source = "".join(path.read_text(encoding="utf8") for path in TESTS)
    missing = [e.name for e in equations() if not re.search(rf"\b{e.name}\(", source)]
    missing += [f.__name__ for f in PRINTED.values() if not re.search(rf"\b{f.__name__}\(", source)]
    assert missing == []


def test_13_x_every_test_names_its_equation():
    for path in [*TESTS, pathlib.Path(__file__)]:
        names = [
            node.name for node in ast.parse(path.read_text(encoding="utf8")).body if isinstance(node, ast.FunctionDef)
        ]
        assert [name for name in names if name.startswith("test") and not name.startswith("test_13_")] == []


def test_13_x_the_lecture_imports_numpy_and_itself_only():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module in ("numpy", "typing"), (path, node.module)
            if isinstance(node, ast.Import):
                assert [name.name for name in node.names] == ["numpy"], path
            assert not (isinstance(node, ast.Attribute) and node.attr in ("linalg", "float64")), path


def test_13_x_files_are_short():
    for path in FILES:
        lines = path.read_text(encoding="utf8").splitlines()
        assert len(lines) < 150 and max(map(len, lines)) <= 100, path


def test_13_x_reloading_is_not_needed_to_read_in_any_order():
    """vdm.py alone brings the whole register along, through the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert importlib.import_module("refvdm.lecture.vdm").elbo.__doc__.startswith("13.24: ")
