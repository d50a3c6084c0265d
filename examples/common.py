"""What only the examples share: one BLAS thread, the ring's exact denoiser, pictures of the plane.

To be imported before NumPy: BLAS gets one thread. The examples' matrices are small; a second
thread gains little when the machine is idle and loses a lot when it is not. What a run needs (the
command, the folder, results, the look of pictures) is refvdm.experiment.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np

from refvdm.vdm.denoiser import MixtureDenoiser

# ---------------------------------------------------------------- equal Gaussians


def exact_denoiser(ring, schedule):
    """E[x_0 | x_t] for x_0 from a datasets.Ring: the best denoiser there is."""
    k, D = ring.means.shape
    covs = np.tile(ring.variance * np.eye(D), (k, 1, 1))
    return MixtureDenoiser(np.ones(k), ring.means, covs, schedule)


def nearest(x, means):
    """Which of the means (k, D) is nearest to each x (n, D), as indices (n,): its colour."""
    return np.argmin(np.linalg.norm(x[:, None] - means, axis=-1), axis=1)


# ---------------------------------------------------------------- pictures


def show_images(axes, images, columns, title, low, high):
    """Images (n, height, width) side by side with a grey gap; low is white, high is black. In
    colour, (n, height, width, 3), high is bright."""
    n, height, width, *colour = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *colour), np.nan)
    for i, image in enumerate(images):
        r, c = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        sheet[r : r + height, c : c + width] = image
    shade = np.clip((sheet - low) / (high - low), 0, 1)
    rgb = shade if colour else np.repeat(1 - shade[..., None], 3, axis=-1)
    axes.imshow(np.nan_to_num(rgb, nan=0.85), interpolation="nearest")
    axes.set_title(title)
    axes.axis("off")


def square(half, n):
    """(n, n, 2): the points of a grid on [-half, half]²."""
    axis = np.linspace(-half, half, n)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def density(log_prob, half, n):
    """exp(log_prob(x)), x (n², 2), on the grid of [-half, half]², (n, n)."""
    return np.exp(log_prob(square(half, n).reshape(-1, 2))).reshape(n, n)


def show_densities(figure, all_axes, densities, half, titles):
    """Densities (n, n) on [-half, half]² with one scale of colours that clips none, and its bar."""
    high = max(p.max() for p in densities)
    for axes, p, title in zip(all_axes, densities, titles):
        shown = axes.imshow(p, extent=(-half, half, -half, half), origin="lower", vmin=0, vmax=high,
                            interpolation="bilinear")
        plane(axes, half, title)
    figure.colorbar(shown, ax=list(all_axes), label="density, 1/unit²", shrink=0.85, pad=0.02)


def plane(axes, half, title, names=("x_1", "x_2")):
    """A panel of [-half, half]² with equal scales: panels side by side stand level."""
    whole = np.arange(-int(half), int(half) + 1)
    axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", title=title,
             xlabel=names[0], ylabel=names[1], xticks=whole, yticks=whole)
