"""The lecture as one page of HTML that needs nothing but itself.

    write("lecture.html")

text/argument.txt has the prose: "# number | title", "## title", paragraphs with $formulas$, and
[[13.28]], [[code hvae.N]], [[picture kl]] or [[misprints]] where one of these stands.
"""
import re
from html import escape
from importlib import resources
from pathlib import Path

from . import mathml
from .code import body, highlighted, resolve, source
from .equation import PRINTED, equations

TITLE = "Neural ODEs and variational diffusion models, as code"
LEAD = ("Every equation of the notes of a lecture on neural ODEs and variational diffusion models, "
        "as a formula, as a function of a few lines, and as a measurement.")

NO_PICTURES = "This page was written without its pictures: they need matplotlib, which is missing."


def write(path, seed=0):
    """Measure every equation, draw the pictures and write the page to path."""
    from .measure import results

    try:
        from .pictures import pictures
        drawn = pictures(seed)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        drawn = None
    found = {result.number: result for result in results(seed)}
    Path(path).write_text(page(found, drawn, seed), encoding="utf8")


def page(results, drawn, seed=0):
    """The page as text, from {number: Result} and {name: [svg, ...]}, None for no pictures."""
    writer = Writer(results, drawn)
    body = "\n".join(writer.block(block) for block in text("argument.txt").strip().split("\n\n"))
    note = "" if drawn else f'<p class="note">{NO_PICTURES}</p>'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{TITLE}</title>
<style>
{text("style.css")}</style>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<nav aria-label="Contents"><details open><summary>Contents</summary>
{writer.contents()}
</details></nav>
<main id="text" tabindex="-1">
<h1>{TITLE}</h1>
<p class="lead">{LEAD}</p>
{note}
{body}
<p class="lead">Measured with seed {seed} when the page was written.</p>
</main>
<script>
{text("script.js")}</script>
</body>
</html>
"""


def text(name):
    """A file of this package's text/."""
    return resources.files(__package__).joinpath("text", name).read_text(encoding="utf8")


def slug(number):
    """eq-13-28-kl-t of "13.28 KL_t"."""
    return "eq-" + re.sub(r"[^a-z0-9]+", "-", number.lower().replace("θ", "theta")).strip("-")


def anchor(section):
    return "s" + section.lstrip("§").replace(".", "-") if section[0] == "§" else section


def number(x):
    """0.37, or 2.2 × 10⁻¹⁶."""
    if x == 0 or 1e-2 <= x < 1e3:
        return f"{x:.2g}"
    digits, power = f"{x:.1e}".split("e")
    power = f"10<sup>{int(power)}</sup>".replace("-", "−")
    return power if digits == "1.0" else f"{digits} × {power}"


def prose(words):
    """HTML whose $formulas$ become MathML and whose numbers become links."""
    parts = re.split(r"\$([^$]+)\$", words)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"§(13(?:\.\d)+)|(?<![\d.])(13\.\d+)(?![\d.]*\d)( \w+)?", link, parts[i])
    for i in range(1, len(parts), 2):  # what ends a clause stays with the formula before it
        rest = parts[i + 1].lstrip(",.;:?)’”")
        ending = parts[i + 1][: len(parts[i + 1]) - len(rest)]
        before, tag, last = mathml.html(parts[i]).rpartition("<math")
        whole = tag + last + ending
        parts[i] = before + (f'<span class="keep">{whole}</span>' if ending and tag else whole)
        parts[i + 1] = rest
    return "".join(parts)


def link(match):
    """A section, "13.25 posterior" as a whole, or a number and the word that follows it."""
    known = {equation.number for equation in equations()}
    section, number, word = match.groups()
    if section:
        return f'<a href="#{anchor(match[0])}">{match[0]}</a>'
    if word and number + word in known:
        return f'<a href="#{slug(match[0])}">{match[0]}</a>'
    return f'<a href="#{slug(number)}">{number}</a>{word or ""}'


class Writer:
    """Turns the blocks of the argument into HTML, and remembers what it has met."""

    def __init__(self, results, drawn):
        self.results, self.drawn = results, drawn
        blocks = text("captions.txt").strip().split("\n\n")
        self.captions = dict(block.split(" | ", 1) for block in blocks)
        self.equations = {equation.number: equation for equation in equations()}
        self.sections, self.shown = [], {}  # (anchor, number, title, [equation]); {machine: number}

    def block(self, words):
        if words.startswith("[[picture "):
            return self.picture(words[len("[[picture ") : -2])
        if words.startswith("[[code "):
            code = highlighted(body(resolve(f"{__package__}.{words[len('[[code ') : -2]}")))
            return f'<pre class="also" tabindex="0"><code>{code}</code></pre>'
        if words == "[[misprints]]":
            return self.misprints()
        if words.startswith("[["):
            return self.equation(self.equations[words[2:-2]])
        if words.startswith("## "):
            return f"<h3>{prose(words[3:])}</h3>"
        if words.startswith("# "):
            section, title = words[2:].split(" | ")
            self.sections.append((anchor(section), section, title, []))
            above = f"<span>{section}</span>" if section[0] == "§" else ""
            return f'<h2 id="{anchor(section)}">{above}{title}</h2>'
        return f"<p>{prose(words)}</p>"

    def contents(self):
        items = []
        for at, section, title, numbers in self.sections:
            inner = " ".join(f'<li><a href="#{slug(n)}">{n}</a></li>' for n in numbers)
            section = section + " " if section[0] == "§" else ""
            items.append(f'<li><a href="#{at}">{section}{title}</a>'
                         + (f"<ol>{inner}</ol>" if inner else "") + "</li>")
        return "<ol>\n" + "\n".join(items) + "\n</ol>"

    def picture(self, name):
        if self.drawn is None:
            return ""
        caption = self.captions[name]
        return (f'<figure id="picture-{name}">\n<div class="panels" role="img" '
                f'aria-label="{escape(caption.replace("$", ""))}">\n' + "\n".join(self.drawn[name])
                + f"\n</div>\n<figcaption>{prose(caption)}</figcaption>\n</figure>")

    def equation(self, equation):
        """The box of one equation."""
        if re.fullmatch(r"13\.\d+", equation.number):
            self.sections[-1][3].append(equation.number)
        at, result = slug(equation.number), self.results[equation.number]
        file = equation.function.__module__.rpartition(".")[2] + ".py"
        parts = [f'<section class="eq" id="{at}" aria-label="{escape(equation.number)}">',
                 f'<h3><a href="#{at}">{escape(equation.number)}</a> <span>{file}</span></h3>',
                 f'<div class="formula">{mathml.html(equation.statement, display=True)}</div>']
        if equation.printed == "left out":
            parts.append('<div class="leftout">Left out of the notes</div>')
        elif equation.printed:
            parts.append('<div class="misprint"><b>Printed:</b> '
                         f"{mathml.html(equation.printed)}</div>")
        parts += [f'<pre tabindex="0"><code>{highlighted(body(equation.function))}</code></pre>',
                  measured(equation, result)]
        if equation.number in PRINTED:
            parts.append(fold("As printed", PRINTED[equation.number].__name__,
                              highlighted(body(PRINTED[equation.number]))))
        parts += [self.machine(equation), "</section>"]
        return "\n".join(part for part in parts if part)

    def machine(self, equation):
        """The machine's code behind a fold, or a link to where it was shown before."""
        if equation.machine is None:
            return ""
        before = self.shown.get(equation.machine)
        if before:
            return (f'<p class="machine">The machine: <code>{escape(equation.machine)}</code>, '
                    f'shown at <a href="#{slug(before)}">{escape(before)}</a></p>')
        self.shown[equation.machine] = equation.number
        return fold("The machine", equation.machine,
                    highlighted(source(resolve(equation.machine)), symbols=False))

    def misprints(self):
        """What the notes print wrong, with how far that is off, and what they leave out."""
        items, missing = [], []
        for equation in self.equations.values():
            to = f'<a href="#{slug(equation.number)}">{escape(equation.number)}</a>'
            off = self.results[equation.number].printed_residual
            if equation.printed == "left out":
                missing.append(to)
            elif equation.printed:
                off = "" if off is None else f' <span class="off">off by {number(off)}</span>'
                items.append(f"<li>{to} {mathml.html(equation.printed)}{off}</li>")
        return ('<ul class="misprints">\n' + "\n".join(items) + "\n</ul>\n<p>Left out: "
                + ", ".join(missing) + ".</p>")


def fold(words, name, code):
    return (f'<details class="machine"><summary>{words}: <code>{escape(name)}</code></summary>'
            f'<pre tabindex="0"><code>{code}</code></pre></details>')


def measured(equation, result):
    """The residuals of one equation as a small table."""
    sides = ("between both sides" if equation.kind == "identity"
             else "from the machine" if equation.machine else "from another way to compute it")
    rows = [(result.residual, sides), (result.closed_form, "from a closed form")]
    verdict = ('<span class="ok">✓ ' if result.ok else '<span class="bad">✗ ')
    verdict += f"within {number(result.tolerance)}" if result.tolerance else "exact"
    lines = [f'<tr><td class="n">{number(value)}</td><td>{words}</td>'
             f"<td>{verdict}</span></td></tr>"
             for value, words in rows if value is not None]
    if result.printed_residual is not None:
        lines.append(f'<tr class="wrong"><td class="n">{number(result.printed_residual)}</td>'
                     '<td colspan="2">as printed</td></tr>')
    return '<table class="measured">\n' + "\n".join(lines) + "\n</table>" if lines else ""
