"""The register of the lecture: its equations, with the functions that state them, in its order."""
from typing import Any, NamedTuple


class Equation(NamedTuple):
    """One line of the register."""

    section: str  # "§13.4.3"
    number: str  # "13.28", or a name where the lecture has no number: "13.25 posterior"
    statement: str  # as it must be
    printed: str | None  # what the lecture has in its place, where that is wrong
    machine: str | None  # the dotted name of the same thing in the rest of refvdm
    kind: str  # "equation", or "identity": the function returns both sides
    function: Any
    name: str


SECTIONS: list = []  # (number, title), as the files come to them
REGISTER: list = []  # Equations, as the files come to them
PRINTED: dict = {}  # number: the function that computes what the lecture prints


def equations():
    """The register in the lecture's order: it comes to hierarchical VAEs twice, hvae.py once."""
    return sorted(REGISTER, key=lambda equation: equation.section)


def section(number, title):
    """The equations below are of this section."""
    SECTIONS.append((number, title))


def equation(number, statement, *, printed=None, machine=None, kind="equation"):
    """The function below computes the right side of this equation."""
    def register(function):
        REGISTER.append(Equation(SECTIONS[-1][0], number, statement, printed, machine, kind,
                                 function, function.__name__))
        notes = [f"{number}: {statement}", function.__doc__, printed and f"Printed: {printed}.",
                 machine and f"In the machine: {machine}."]
        function.__doc__ = "\n\n".join(note for note in notes if note)
        return function
    return register


def identity(number, statement, *, printed=None, machine=None):
    """The function below returns both sides of this equation: their difference is the residual."""
    return equation(number, statement, printed=printed, machine=machine, kind="identity")


def as_printed(number):
    """The function below does what the lecture prints under this number, to be seen failing."""
    def register(function):
        PRINTED[number] = function
        return function
    return register
