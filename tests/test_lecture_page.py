"""The page of the lecture: whole, self-contained, readable; and its formulas, which lose no character."""

import html.parser
import re
import sys
import types
import typing
import unicodedata

import pytest

from refvdm.lecture import PRINTED, equations, page, svg
from refvdm.lecture.code import body, highlighted, resolve, source
from refvdm.lecture.mathml import formula
from refvdm.lecture.mathml import html as set_formulas

VOID = {"meta", "link", "br", "img", "hr", "wbr"}


class Result(typing.NamedTuple):
    """As much of a measurement as the page looks at."""

    number: str
    residual: float | None = 1.2e-16
    closed_form: float | None = None
    printed_residual: float | None = None
    tolerance: float = 1e-12
    ok: bool = True


class Document(html.parser.HTMLParser):
    """Every start tag has its end tag, in order; collects attributes and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.faults = [], [], [], []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.faults.append(tag)

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def having(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def measurements():
    return {e.number: Result(e.number, printed_residual=0.31 if e.number in PRINTED else None) for e in equations()}


@pytest.fixture(scope="module")
def drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from refvdm.lecture.pictures import pictures

    return pictures(0)


@pytest.fixture(scope="module")
def text(drawn):
    return page.page(measurements(), drawn)


@pytest.fixture(scope="module")
def document(text):
    return Document(text)


# ---------------------------------------------------------------- the page


def test_every_element_is_closed_and_every_id_is_its_own(document):
    assert document.faults == []
    ids = document.having("id")
    assert len(ids) == len(set(ids))


def test_every_equation_is_there_once_with_its_function_and_its_machine(text):
    for e in equations():
        (box,) = re.findall(rf'<section class="eq" id="{page.slug(e.number)}".*?</section>', text, re.DOTALL)
        words = "".join(Document(box).text)
        assert body(e.function).rstrip() in words and "@equation" not in words
        assert (e.machine is None) or f"The machine: {e.machine}" in words
        assert ("Printed: " in words) == (e.printed not in (None, "left out"))
        assert ("Left out of the notes" in words) == (e.printed == "left out")
        assert ("0.31" in words and "As printed: printed_" in words) == (e.number in PRINTED)
        assert "1.2 × 10−16" in words and "✓ within 10−12" in words


def test_equations_come_in_the_order_of_the_lecture():
    found = re.findall(r"^\[\[(13\.\d+)\]\]$", page.text("argument.txt"), re.MULTILINE)
    in_reading_order = sorted(found, key=lambda number: int(number[3:]))
    assert len(found) == 29 and set(found) == {f"13.{n}" for n in range(1, 30)}
    # 13.15's first line and the derivation are told before the result, everything else as numbered
    assert found == in_reading_order


def test_links_lead_to_something_on_the_page(document):
    links = document.having("href")
    assert len(links) > 100
    assert [link for link in links if link != "data:," and not link.startswith("#")] == []
    assert {link[1:] for link in links if link.startswith("#")} <= set(document.having("id"))
    used = {word for value in document.having("clip-path") for word in re.findall(r"url\(#(.*?)\)", value)}
    assert used and used <= set(document.having("id"))


def test_nothing_is_fetched(text, document):
    assert not re.search(r"https?:|//\w+\.\w+|@import|url\((?!#)", text)
    assert document.having("src") == []


def test_small_enough_to_send(text):
    assert len(text.encode()) < 3_000_000


def test_the_page_says_section_for_sections_and_names_the_notes(document):
    words = " ".join("".join(document.text).split())
    assert "notes of a lecture on neural ODEs and variational diffusion models" in words
    assert not re.search(r"(?<!§)13\.4\.[123]", page.text("argument.txt"))


def test_a_reader_with_a_keyboard_is_not_left_out(text, document):
    assert ("a", {"class": "skip", "href": "#text"}) in document.tags
    assert "text" in document.having("id") and ":focus-visible" in text
    assert dict(document.tags)["html"] == {"lang": "en"}
    assert all(attrs.get("aria-label") for tag, attrs in document.tags if attrs.get("role") == "img")


def test_a_failure_is_shown_as_one(drawn):
    wrong = measurements() | {"13.28": Result("13.28", residual=0.5, ok=False)}
    assert "✗ within 10<sup>−12</sup>" in page.page(wrong, drawn)


def test_everything_that_the_shown_code_calls_is_shown():
    """A reader of the page alone meets no name of the spec that the page does not define."""
    shown = {e.function for e in equations()} | set(PRINTED.values())
    beside = re.findall(r"^\[\[code (.*)\]\]$", page.text("argument.txt"), re.MULTILINE)
    shown |= {resolve(f"refvdm.lecture.{name}") for name in beside}
    for function in list(shown):
        own = sys.modules[function.__module__].__dict__
        names = set(re.findall(r"\b\w+\b", body(function))) & set(own)
        called = {own[name] for name in names if getattr(own[name], "__module__", "").startswith("refvdm.lecture")}
        assert called <= shown, function


def test_the_misprints_are_listed_with_links_to_their_boxes(text):
    section = text[text.index('id="misprints"') :]
    for e in equations():
        assert (f'href="#{page.slug(e.number)}"' in section) == (e.printed is not None), e.number


def test_numbers_are_set_as_numbers():
    assert page.number(0.0) == "0" and page.number(0.314) == "0.31" and page.number(2.0) == "2"
    assert page.number(2.24e-16) == "2.2 × 10<sup>−16</sup>" and page.number(1e-11) == "10<sup>−11</sup>"
    assert page.number(4.5e6) == "4.5 × 10<sup>6</sup>"


def test_without_pictures_the_page_says_so_and_is_whole():
    document = Document(page.page(measurements(), None))
    assert page.NO_PICTURES in "".join(document.text)
    assert document.faults == [] and "figure" not in dict(document.tags)


def test_without_matplotlib_the_pictures_say_what_is_missing(monkeypatch):
    from refvdm.lecture.pictures import pictures

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError) as error:
        pictures(0)
    assert error.value.name.partition(".")[0] == "matplotlib"


def test_write_measures_draws_and_writes(monkeypatch, tmp_path):
    """Without matplotlib, which saves the drawing: the page is written all the same, and always the same."""
    measure = types.ModuleType("refvdm.lecture.measure")
    measure.results = lambda seed: list(measurements().values())
    monkeypatch.setitem(sys.modules, "refvdm.lecture.measure", measure)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    page.write(tmp_path / "lecture.html", seed=3)
    written = (tmp_path / "lecture.html").read_text(encoding="utf8")
    assert written == page.page(measurements(), None, seed=3)
    assert "Measured with seed 3" in written


# ---------------------------------------------------------------- colours


def variables(dark):
    """{--name: (r, g, b)} of the style sheet, of the light or the dark page."""
    blocks = re.findall(r":root \{(.*?)\}", page.text("style.css"), re.DOTALL)
    return {
        name: tuple(int(value[i : i + 2], 16) for i in (0, 2, 4))
        for name, value in re.findall(r"(--\w+): #(\w{6})", blocks[dark])
    }


def contrast(one, other):
    """WCAG 2: (lighter + 0.05)/(darker + 0.05) of the relative luminances."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    a, b = sorted((luminance(one), luminance(other)))
    return (b + 0.05) / (a + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_of_text_stand_out(dark):
    colour = variables(dark)
    pairs = [(ink, "--paper") for ink in ("--ink", "--quiet", "--link", "--bad", "--good")]
    pairs += [(ink, "--raised") for ink in ("--ink", "--keyword", "--string", "--comment")]
    pairs += [("--ink", "--badpaper"), ("--bad", "--badpaper"), ("--litink", "--lit")]
    assert {pair: contrast(*map(colour.get, pair)) for pair in pairs if contrast(*map(colour.get, pair)) < 4.5} == {}
    lines = {name: contrast(colour[name], colour["--paper"]) for name in ("--one", "--two", "--three", "--faint")}
    assert min(lines.values()) > 3, lines


def test_light_and_dark_define_the_same_colours():
    assert set(variables(False)) == set(variables(True)) >= set(svg.VARIABLES.values())


# ---------------------------------------------------------------- pictures


def test_every_picture_has_its_place_and_its_words(drawn):
    places = re.findall(r"\[\[picture (\w+)\]\]", page.text("argument.txt"))
    captions = [block.split(" | ")[0] for block in page.text("captions.txt").strip().split("\n\n")]
    assert sorted(places) == sorted(drawn) == sorted(captions)


def test_pictures_take_their_colours_from_the_page(drawn):
    for panels in drawn.values():
        for panel in panels:
            assert "var(--ink)" in panel
            assert not set(re.findall(r"#[0-9a-f]{6}", panel)) - {"#000000"}
            assert not any(colour in panel for colour in svg.VARIABLES)


def test_a_picture_is_the_same_every_time(drawn):
    import matplotlib.pyplot as plt
    import numpy as np

    from refvdm.lecture.pictures import lu

    with plt.rc_context(svg.STYLE):
        again = [svg.svg(plt, figure, f"lu{i}") for i, figure in enumerate(lu(plt, np.random.default_rng(0)))]
    assert again == drawn["lu"]


# ---------------------------------------------------------------- formulas


def content(fragment):
    """Letters and digits in reading order, without accents and without the signs of sums and products."""
    decomposed = unicodedata.normalize("NFKD", "".join(Document(fragment).text))
    return [c for c in decomposed if c.isalnum() and c not in "ΣΠˆ"]


@pytest.mark.parametrize("entry", equations(), ids=lambda entry: entry.number)
def test_formulas_lose_no_letter_and_no_digit(entry):
    for statement in filter(None, (entry.statement, entry.printed)):
        found = set_formulas(statement)
        assert Document(found).faults == []
        assert content(found) == content(statement.replace("½", "12"))


@pytest.mark.parametrize(
    "written, expected",
    [
        ("x_{t-1}", '<msub data-s="x_t-1"><mi>x</mi><mrow><mi data-s="t">t</mi><mo>−</mo><mn>1</mn></mrow></msub>'),
        ("√(1 - θ)", '<msqrt><mn>1</mn><mo>−</mo><mi data-s="θ">θ</mi></msqrt>'),
        ("[1 + 2]/(c)", '<mfrac><mrow><mn>1</mn><mo>+</mo><mn>2</mn></mrow><mrow><mi data-s="c">c</mi></mrow></mfrac>'),
        ("∂f/∂z", '<mfrac data-s="∂f/∂z"><mrow><mi>∂</mi><mi>f</mi></mrow><mrow><mi>∂</mi><mi>z</mi></mrow></mfrac>'),
    ],
)  # fmt: skip
def test_formula_as_elements(written, expected):
    assert formula(written) == f"<math><mrow>{expected}</mrow></math>"


def test_bars_are_a_pair_or_a_condition():
    assert formula("|W|").count('stretchy="false">|</mo>') == 2 and 'form="prefix"' in formula("|W|")
    assert 'form="prefix"' not in formula("p(x | z)")


def test_an_article_is_a_word_and_the_adjoint_is_a_symbol():
    assert set_formulas("a permutation") == "a permutation"
    assert set_formulas("a jumps") == '<math><mrow><mi data-s="a">a</mi></mrow></math> jumps'


def test_long_formulas_can_be_broken():
    assert set_formulas("a = b + c").count("<math") == 3
    assert set_formulas("a = b + c + d + e + f").count("keep") == 0


def test_short_clauses_are_not_broken_and_semicolons_begin_lines():
    assert set_formulas("x = b + c + d + e, t ≥ 2").endswith(f'<span class="keep">{set_formulas("t ≥ 2")[19:]}')
    assert set_formulas("a = b; c = d", display=True).count("<br>") == 1
    assert set_formulas("a = b; c = d").count("<br>") == 0


def test_signs_of_two_kinds():
    assert "≠" in set_formulas("W_11 ≠ 0")  # one sign, which Unicode would take apart
    assert '<mo form="prefix">−</mo>' in set_formulas("x = -a") and "prefix" not in set_formulas("x - a")
    assert set_formulas("x = -a").count("<math") == 2


def test_a_matrix_is_a_table_whatever_its_elements():
    for written in ("[[1, 0], [0, 1]]", "[[∂f/∂z, 1], [0, 1]]"):
        assert set_formulas(written).count("<mtr") == 2 and set_formulas(written).count("<mtd") == 4


def test_subscripts_in_pictures_are_set_below_the_line():
    assert svg.subscripts("q(x_t), t") == 'q(x<tspan dy="2" font-size="75%">t</tspan><tspan dy="-2">), t</tspan>'
    assert svg.subscripts("Var x₀") == "Var x₀"


# ---------------------------------------------------------------- code


@pytest.mark.parametrize("entry", equations(), ids=lambda entry: entry.number)
def test_code_is_shown_as_it_stands(entry):
    for thing in [entry.function] + ([resolve(entry.machine)] if entry.machine else []):
        assert "".join(Document(highlighted(source(thing))).text) == source(thing).rstrip("\n")


def test_a_symbol_of_the_formula_lights_up_in_the_code():
    by_number = {e.number: e for e in equations()}
    for number, keys in {
        "13.26": {"α", "x_t-1"},
        "13.28": {"ᾱ", "x_0"},
        "13.15": {"∂f/∂z", "∂f/∂θ", "a"},
        "13.17 gradient": {"T_0", "a_θ"},
        "13.25 posterior": {"x_t", "x_0", "α", "ᾱ"},
        "13.1 layer": {"P", "L", "U", "x"},
    }.items():
        e = by_number[number]
        in_formula = set(Document(set_formulas(e.statement)).having("data-s"))
        in_code = set(Document(highlighted(source(e.function))).having("data-s"))
        missing = {unicodedata.normalize("NFC", key) for key in keys} - (in_formula & in_code)
        assert missing == set(), number
