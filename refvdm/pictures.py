"""The pictures of an experiment: matplotlib without a screen, with the package's look.

All of it is part of refvdm.experiment, which tells how it is used.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

from .checkpoint import whole
from .command import in_notebook

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B5FBF", "#7A7A00")
LOOK = {"figure.constrained_layout.use": True, "axes.titlesize": 11, "axes.titlelocation": "left",
        "axes.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "legend.fontsize": 9, "image.cmap": "magma",
        "figure.titlesize": 12, "lines.linewidth": 1.6}


def pyplot() -> Any:
    """matplotlib.pyplot, but for notebooks drawing to files and never to a screen, with the
    package's look; None, and a word, without it.

    >>> from refvdm import experiment
    >>> plt = experiment.pyplot()
    >>> plt is None or hasattr(plt, "subplots")
    True
    """
    try:
        import matplotlib
    except ImportError:
        print("no pictures: they need matplotlib. Get it with  "
              "python -m pip install -e '.[examples]'  and run the same command again.")
        return None
    if not in_notebook():
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams.update(LOOK, **{"axes.prop_cycle": plt.cycler(color=PALETTE)})
    return plt


def save_picture(plt: Any, figure: Any, path: Path) -> None:
    """The figure as a png file, whole or not there; the figure is closed, but in a notebook, which
    shows it.

    >>> import pathlib, tempfile
    >>> from refvdm import experiment
    >>> plt = experiment.pyplot()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     if plt is not None:  # matplotlib is there
    ...         experiment.save_picture(plt, plt.figure(), pathlib.Path(folder) / "empty.png")
    """
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
    if not in_notebook():
        plt.close(figure)
