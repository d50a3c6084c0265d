"""The register's plain-Unicode formulas as MathML.

    html("z goes back by da/dt = -a ∂f/∂z")     words, and <math> elements

A grammar of what the statements use, no more: names with _ and ^, calls, groups, fractions by /,
roots, sums, accents. What it does not know it shows as it is. The formula is cut into several
<math> elements before =, +, -, Σ and after commas: a browser breaks lines only between them.
"""
import re
import unicodedata
from html import escape
from typing import Any

NAMES = ["ODESolver", "ELBO", "SNR", "KL", "Var", "NN", "log", "sin", "abs", "dim"]
UPRIGHT = "E", "N", "U{", "O"
RELATIONS = {"->": "→", "~": "∼"} | {sign: sign for sign in "=≥≤<>≠≈"}
SIGNS = RELATIONS | {"-": "−", "..": "…", "...": "…"}
BIG = "ΣΠ∫"
SHORT = 6  # tokens of a clause that is not broken
VERBS = "jumps", "and", "is", "goes", "row"  # after the adjoint a, not the article
LETTER = r"[A-Za-zα-ωΓ∂](?:\u0304|\u0302)?"
BRACED = r"(?:[^{}]|\{[^{}]*\})*"
SUB = rf"_(?:\{{(?P<sub1>{BRACED})\}}|(?P<sub2>(?:{LETTER}|\d)+))"
SUP = r"\^(?:\{(?P<sup1>[^}]*)\}|(?P<sup2>-?\w))|(?P<sup3>²)"
TOKEN = re.compile(
    rf"""(?P<space>\s+) | (?P<quote>"[^"]*") | (?P<number>\d+(?:\.\d+)?)
    | (?P<dots>\.\.\.?|…) | (?P<d>d(?=[zθLatsxT](?![A-Za-z])|/)|∂)
    | (?P<name>(?:{"|".join(NAMES)})(?![a-z])|minor(?=_)|{LETTER}(?![A-Za-z])|[ΣΠ∫])
      (?P<digit>[01](?!\d))?
    | (?P<word>[A-Za-z]+(?:['-][A-Za-z]+)*) | (?P<open>[(\[{{]) | (?P<close>[)\]}}])
    | (?P<op>->|.)""", re.VERBOSE)
SCRIPT = re.compile(rf"(?P<star>\*)?(?:{SUB})?(?:{SUP})?")


class Token:
    def __init__(self, kind, text, spaced, sub=None):
        self.kind, self.text, self.spaced, self.sub = kind, text, spaced, sub
        self.sup, self.braced = None, False


def tokens(text):
    """Names carry their scripts, and so do closing brackets and bars: (1 + x)^2, ‖x‖²."""
    text, at, spaced = unicodedata.normalize("NFD", text).replace("=\u0338", "≠"), 0, True
    found: list[Token] = []
    while at < len(text):
        match: Any = TOKEN.match(text, at)  # the last alternative is any character
        kind, at = match.lastgroup, match.end()
        if kind == "digit":
            kind = "name"
        if kind == "space":
            spaced = True
            continue
        if kind == "op" and match["op"] in "|‖":  # " | " is "given", "|W|" a pair of bars
            given = spaced and text[at : at + 1] == " "
            kind = "op" if given else "bar"
        name = match["name"] or match["op"] or match.group().strip()
        token = Token(kind, name, spaced, match["digit"])
        if kind in ("name", "close", "bar"):
            script: Any = SCRIPT.match(text, at)
            at = script.end()
            token.sub = script["sub1"] or script["sub2"] or token.sub
            token.braced = script["sub1"] is not None
            token.sup = script["sup1"] or script["sup2"] or (script["sup3"] and "2")
            token.sup = "*" if script["star"] else token.sup
        found.append(token)
        spaced = False
    for i in range(len(found) - 1):  # the article: an a before a word, unless the word is its verb
        if (found[i].text == "a" and found[i].sub is None and found[i + 1].kind == "word"
                and found[i + 1].text not in VERBS):
            found[i].kind = "word"
    return found


def element(tag, *children, **attributes):
    text = "".join(f' {name.replace("_", "-")}="{escape(str(value))}"'
                   for name, value in attributes.items() if value is not None)
    return f"<{tag}{text}>{''.join(children)}</{tag}>"


def symbol(name, sub):
    """The key under which a name lights up, in the formula and in the code: x_t-1, ᾱ, a_θ."""
    if name in NAMES or name in BIG:
        return None
    name = unicodedata.normalize("NFC", name)
    return name if sub is None or name in "ᾱαεσ" else f"{name}_{sub.replace(' ', '')}"


def scripted(base, sub, sup, big=None, key=None):
    below, above = (None if s is None else row(s) for s in (sub, sup))
    over = big in ("Σ", "Π")
    tag = {(1, 1): "munderover" if over else "msubsup", (1, 0): "munder" if over else "msub",
           (0, 1): "mover" if over else "msup"}.get((sub is not None, sup is not None))
    if tag is None:
        return base if key is None else base.replace(">", f' data-s="{escape(key)}">', 1)
    return element(tag, base, below or "", above or "", data_s=key)


def letter(name, upright=False):
    accent = {"\u0304": "¯", "\u0302": "ˆ"}.get(name[-1])
    if accent:
        return element("mover", f"<mi>{name[0]}</mi>", f'<mo stretchy="false">{accent}</mo>',
                       accent="true" if accent == "ˆ" else None)
    return element("mi", escape(name), mathvariant="normal" if upright else None)


def is_operator(item):
    """Not the brackets and bars about something."""
    return item.startswith("<mo") and item.count("<mo") == 1


class Parser:
    def __init__(self, text):
        self.tokens, self.at = tokens(text), 0

    def next(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else Token("end", "", True)

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def until(self, *kinds):
        """Everything up to a token of these kinds, as a list of elements."""
        items: list[str] = []
        while self.next().kind not in (*kinds, "end"):
            self.add_to(items)
        return items

    def add_to(self, items):
        """The next item: a sign where nothing stands before it, thin space between factors."""
        token = self.next()
        after_operator = not items or is_operator(items[-1])
        if token.kind == "op" and token.text in "+-±" and after_operator:
            items.append(operator(self.take().text, form="prefix"))
        else:
            if token.spaced and token.kind not in ("op", "word", "dots") and not after_operator:
                wide = token.text in (*UPRIGHT, *NAMES, "|")
                items.append(f'<mspace width="{0.25 if wide else 0.14}em"/>')
            items.append(self.item())

    def item(self):
        """One factor, or a fraction of two, or an operator."""
        token = self.next()
        if token.kind == "word":
            return element("mtext", f"\u00a0{self.take().text}\u00a0")
        if token.kind in ("op", "dots", "close") and token.text != "√" and token.text != "½":
            return operator(self.take().text)
        start = self.at
        above = self.factor()
        if self.next().text != "/":
            return above[0]
        end = self.at = self.at + 1
        below = self.factor()
        key = None
        if token.kind == "d" and self.tokens[end].kind == "d":  # ∂f/∂z lights up as one
            names = self.tokens[start + 1], self.tokens[end + 1]
            key = "/".join(token.text + (symbol(t.text, t.sub) or "") for t in names)
        fraction = element("mfrac", *(element("mrow", inner) for _, inner in (above, below)))
        if key is not None:
            fraction = re.sub(r' data-s="[^"]*"', "", fraction)
            fraction = fraction.replace(">", f' data-s="{escape(key)}">', 1)
        return fraction

    def factor(self, call=True):
        """(as it stands, as it stands in a fraction or under a root: without its brackets)."""
        token = self.take()
        if token.kind == "d":
            d = element("mi", token.text, mathvariant="normal" if token.text == "d" else None)
            return (d + (self.factor()[0] if self.next().kind in ("name", "open") else ""),) * 2
        if token.text == "√":
            root = element("msqrt", self.factor(call=False)[1])
            return root, root
        if token.text == "½":
            return ("<mfrac><mn>1</mn><mn>2</mn></mfrac>",) * 2
        if token.kind == "open":
            return self.group(token)
        if token.kind == "bar":
            inside = "".join(self.until("bar"))
            end = self.take() if self.next().kind == "bar" else Token("bar", "", False)
            bars = [f'<mo form="{form}" lspace="0" rspace="0" stretchy="false">{t.text}</mo>'
                    for t, form in ((token, "prefix"), (end, "postfix"))]
            both = bars[0] + inside + scripted(bars[1], end.sub, end.sup)
            return both, both
        if token.kind == "number":
            return (element("mn", token.text),) * 2
        if token.kind == "quote":
            return (element("mtext", escape(token.text)),) * 2
        if token.kind != "name":
            return (operator(token.text),) * 2
        if token.text == "Σ" and not token.braced and token.sub:  # a covariance, not a sum
            return (scripted("<mi>Σ</mi>", token.sub, token.sup),) * 2
        upright = token.text in UPRIGHT or token.text + self.next().text in UPRIGHT
        base = f"<mo>{dict(zip(BIG, '∑∏∫'))[token.text]}</mo>" if token.text in BIG \
            else letter(token.text, upright)
        key = None if upright else symbol(token.text, token.sub)
        both = scripted(base, token.sub, token.sup, token.text, key)
        if call and self.next().kind == "open" and not self.next().spaced:
            both += self.group(self.take())[0]
        elif token.text in NAMES and self.next().kind in ("name", "number", "bar", "d"):
            both += '<mspace width="0.17em"/>'
        return both, both

    def group(self, token):
        inside = "".join(self.until("close"))
        end = self.take() if self.next().kind == "close" else Token("close", "", False)
        tall = "<mfrac" in inside
        fence = "<mo>" if tall else '<mo stretchy="false">'
        whole = f"{fence}{token.text}</mo>" + inside + scripted(
            f"{fence}{end.text}</mo>", end.sub, end.sup)
        whole = element("mrow", whole) if tall else whole
        plain = whole if end.sup or token.text == "{" else inside
        if token.text == "[" and re.match(r"(<mrow>)?<mo[^>]*>\[", inside):
            whole = plain = matrix(inside)
        return whole, plain


def matrix(rows):
    """[[a, b], [c, d]] as a table."""
    cells = [row.split("<mo separator=\"true\">,</mo>") for row in
             re.findall(r"<mo[^>]*>\[</mo>(.*?)<mo[^>]*>\]</mo>", rows)]
    table = element("mtable", *(element("mtr", *(element("mtd", c) for c in row)) for row in cells))
    return element("mrow", '<mo>[</mo>', table, '<mo>]</mo>')


def operator(text, form=None):
    if text in ",;":
        return f'<mo separator="true">{text}</mo>'
    if text == "|" or text == "‖":
        return f'<mo lspace="0.2em" rspace="0.2em" stretchy="false">{text}</mo>'
    space = "0" if form == "infix" else None  # the first of its piece: a space stands before it
    return element("mo", escape(SIGNS.get(text, text)), form=form, lspace=space)


def row(text):
    """A formula as elements, without <math> about them."""
    if re.fullmatch("[a-z]{2,3}", text):  # U_ii, f_aug
        letters = [text] if text == "aug" else text
        return element("mrow", *(f"<mi>{letter}</mi>" for letter in letters))
    return element("mrow", *Parser(text).until())


def formula(text, display=False):
    """A formula as one <math> element."""
    return element("math", row(text), displaystyle="true" if display else None)


def html(text, display=False):
    """Text and formulas: words as they are, formulas as <math> elements that lines break between.

    Nothing is lost: unknown characters become operators. A short clause, "t ≥ 2", stays on one
    line; in display what follows a semicolon begins a line."""
    parser = Parser(text)
    parts: list[str] = []
    piece: list[str] = []
    style = "true" if display else None
    clause = 0, 0  # where it begins, in parts and in tokens

    def end_clause(sign=""):
        nonlocal clause
        first, at = clause
        words = " ".join(parts[first:])
        if words.count("<math") > 1 and parser.at - at <= SHORT:
            parts[first:] = [f'<span class="keep">{words}</span>']
        if display and sign == ";":
            parts.append("<br>")
        clause = len(parts), parser.at

    def close(after=""):
        if after and piece:  # within the formula, or a line might begin with it
            piece.append(f'<mo form="postfix" lspace="0" rspace="0">{after}</mo>')
        elif after and parts:
            parts[-1] += after
        if piece:
            parts.append(element("math", element("mrow", *piece), displaystyle=style))
            piece.clear()

    while parser.next().kind != "end":
        token = parser.next()
        if token.kind in ("word", "quote"):
            close()
            parts.append(escape(unicodedata.normalize("NFC", parser.take().text), quote=False))
        elif token.kind == "op" and token.text in ",;:.":
            sign = parser.take().text
            close(sign)
            end_clause(sign)
        elif token.kind == "op" and piece and (
                token.text in RELATIONS or token.text in "+-" and not is_operator(piece[-1])):
            close()
            piece.append(operator(parser.take().text, form="infix"))
        else:
            if token.text in (*BIG, "log", "KL", "E") and piece and not is_operator(piece[-1]):
                before = parser.tokens[parser.at - 1]
                if before.text not in ("E", "log", *BIG) or before.braced and before.text == "E":
                    close()
            parser.add_to(piece)
    close()
    end_clause()
    return " ".join(parts)
