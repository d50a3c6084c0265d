"""More training images than there are: mirrored, transposed and shifted ones, for vdm_digits.py.

A mirrored 3 is no digit, but its strokes are a digit's strokes. So the network is told of every
move: what it learns is p(x_0 | moves), and what is evaluated and sampled is p(x_0 | no moves), the
images as they are (T. Karras et al., Elucidating the Design Space of Diffusion-Based Generative
Models, 2022, call it non-leaking augmentation). Every pixel keeps a level that it had: nothing is
interpolated, which would give images of other levels than there are.
"""
import math

import numpy as np

from refvdm.vdm.schedule import LEVEL_FEATURES

MOVES = 5  # upside down, left to right, transposed: 0 or 1; down, to the right: -1, 0 or 1 pixels


def draw(n, rng):
    """(n, MOVES), each move tried with probability 0.1: three rows in four stay 0."""
    moves = np.concatenate([rng.integers(0, 2, (n, 3)), rng.integers(-1, 2, (n, 2))], axis=1)
    return moves * (rng.random((n, MOVES)) < 0.1)


def moved(x, moves):
    """Square images (n, side²) after their moves (n, MOVES); from outside comes -1, the lowest
    level."""
    n, side = len(x), math.isqrt(x.shape[1])
    upside_down, mirrored, transposed, down, right = moves.T[:, :, None, None]
    # where each pixel (i, j) of the moved image comes from
    i, j = np.indices((side, side))
    i, j = i - down, j - right
    row, column = np.where(transposed, j, i), np.where(transposed, i, j)
    row = np.where(upside_down, side - 1 - row, row)
    column = np.where(mirrored, side - 1 - column, column)
    framed = np.pad(x.reshape(n, side, side), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    return framed[np.arange(n)[:, None, None], row + 1, column + 1].reshape(x.shape)


class Told:
    """A network that is told of the moves of its images: they shift the features of the level."""

    def __init__(self, network):
        self.network = network

    def init(self, rng, dtype=np.float32):
        weights = 0.5 * rng.standard_normal((MOVES, LEVEL_FEATURES))
        return {"network": self.network.init(rng, dtype), "moves": weights.astype(dtype)}

    def __call__(self, theta, x, level):
        if "told" in theta:  # the bound asks about x_1 and x_t of the same images in one call
            told = np.tile(theta["told"], (len(x) // len(theta["told"]), 1))
            level = level + told @ theta["moves"]
        return self.network(theta["network"], x, level)


def tell(theta, moves):
    """A denoiser's theta for a batch that was moved so; without it there are no moves."""
    told = {"told": moves.astype(theta["bias"].dtype)}
    return {**theta, "network": {**theta["network"], **told}}
