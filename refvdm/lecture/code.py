"""Source code as HTML: keywords, strings, comments, and names that light up with the formula's."""
import importlib
import inspect
import io
import keyword
import re
import textwrap
import tokenize
import unicodedata
from html import escape
from typing import Any

GREEK = {"theta": "θ", "alpha": "α", "eps": "ε"}
SYMBOLS = {  # what a name in the code is called in the formulas: see mathml.symbol
    "alpha_bar": "ᾱ", "abar": "ᾱ", "abar_prev": "ᾱ", "abar_T": "ᾱ", "x_prev": "x_t-1",
    "x_next": "x_t+1", "x_0_hat": "x̂_0", "z_T0": "z", "z_T1": "z", "T0": "T_0", "T1": "T_1",
    "df_dz": "∂f/∂z", "df_dtheta": "∂f/∂θ", "df_dt": "∂f/∂t", "dL": "∂L/∂z", "a_theta": "a_θ",
    "z_next": "z", "a_next": "a", "f_aug": "f_aug", "snr": "SNR"}


def symbol(name):
    """The key of a name: its own, in Greek where it is; None for words longer than a symbol."""
    known = SYMBOLS.get(name) or GREEK.get(name)
    if known:
        return unicodedata.normalize("NFC", known)
    return name if len(name.partition("_")[0]) == 1 else None


def source(thing):
    """The source of a function, a class, a method or what a property computes."""
    thing = getattr(thing, "fget", None) or getattr(thing, "func", None) or thing
    return textwrap.dedent(inspect.getsource(thing))


def body(function):
    """A function's source from its def on: what its decorator says, the page shows as a formula."""
    code = source(function)
    start: Any = re.search("^(def|class) ", code, re.MULTILINE)
    return code[start.start() :]


def resolve(dotted):
    """The object of a dotted name: attributes before modules, as refvdm.ode.adjoint is both."""
    thing: Any = importlib.import_module("refvdm")
    path = "refvdm"
    for part in dotted.split(".")[1:]:
        path += f".{part}"
        found = inspect.getattr_static(thing, part, None) if inspect.isclass(thing) else None
        if isinstance(found, property) or hasattr(found, "func"):
            thing = found
        else:
            thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(path)
    return thing


def highlighted(text, symbols=True):
    """Python source as HTML for a <pre>."""
    lines, parts, line, column = text.splitlines(keepends=True), [], 1, 0

    def upto(row, col):
        """What stands between two tokens: spaces, line ends and continuations."""
        nonlocal line, column
        while line < row:
            parts.append(escape(lines[line - 1][column:], quote=False))
            line, column = line + 1, 0
        parts.append(escape(lines[row - 1][column:col], quote=False))
        column = col

    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT,
                          tokenize.ENDMARKER):
            continue
        upto(*token.start)
        kind = ("c" if token.type == tokenize.COMMENT
                else "s" if token.type == tokenize.STRING
                else "k" if keyword.iskeyword(token.string) else None)
        word = escape(token.string, quote=False)
        key = symbol(token.string) if symbols and token.type == tokenize.NAME else None
        if kind is not None:
            parts.append(f'<span class="{kind}">{word}</span>')
        elif key is not None:
            parts.append(f'<span data-s="{escape(key)}">{word}</span>')
        else:
            parts.append(word)
        line, column = token.end
    parts.append(escape("".join([lines[line - 1][column:], *lines[line:]])
                        if line <= len(lines) else "", quote=False))
    return "".join(parts).rstrip("\n")
