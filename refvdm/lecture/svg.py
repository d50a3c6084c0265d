"""matplotlib's figures as SVG that belongs to its page: its fonts, its colours, light and dark.

Colours are stood for by numbers that no drawing uses, and become variables of the page's CSS.
"""
import io
import re

VARIABLES = {"#010203": "--ink", "#010204": "--faint", "#010206": "--paper",
             "#0102a1": "--one", "#0102a2": "--two", "#0102a3": "--three", "#0102a4": "--four"}
INK, FAINT, PAPER, ONE, TWO, THREE, FOUR = VARIABLES
STYLE = {
    "svg.fonttype": "none", "font.size": 9.0, "axes.titlesize": 9.5, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "xtick.major.width": 0.7, "ytick.major.width": 0.7, "lines.linewidth": 1.5,
    "legend.frameon": False, "legend.fontsize": 8.5, "legend.handlelength": 1.4,
    "figure.constrained_layout.use": True, "axes.unicode_minus": True, "lines.markersize": 4,
}


def panel(plt, title, xlabel="", ylabel="", size=(3.55, 2.6), **axes):
    """A figure with one pair of axes: (figure, axes)."""
    figure, ax = plt.subplots(figsize=size)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, **axes)
    return figure, ax


def subscripts(words):
    """x_t with the t below the line."""
    first, *rest = re.split(r"_(\w+)", words)
    return first + "".join(
        f'<tspan dy="2" font-size="75%">{sub}</tspan><tspan dy="-2">{after}</tspan>'
        for sub, after in zip(rest[::2], rest[1::2]))


def svg(plt, figure, name):
    """The figure as an <svg> element for HTML, with ids of its own, the same in every run."""
    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"| version="1.1"| (width|height)="[\d.]+pt"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'font: ([\d.]+)px [^;"]*', r"font-size: \1px", text)
    text = re.sub(r"(?<=>)[^<>]*_[^<>]*(?=</text>)", lambda words: subscripts(words[0]), text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    width = 6 * figure.get_figwidth()
    text = text.replace("<svg", f'<svg aria-hidden="true" focusable="false" style="width: '
                        f'{width:.4g}rem"', 1)
    return re.sub(r"\s*\n\s*", "\n", text).strip()
