"""The picture at the top of the README, cut from those of three finished runs:

    for run in vdm_digits vdm_2d neural_ode_spiral; do python examples/$run.py; done
    python .github/picture.py
"""
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# picture, the part of it: left, right, top, bottom
PARTS = (("vdm_digits/denoising.png", 0.2, 1.0, 0.08, 1.0),
         ("vdm_2d/paths.png", 0.0, 1.0, 0.0, 1.0),
         ("neural_ode_spiral/spiral.png", 0.0, 0.445, 0.0, 1.0))

images = []
for name, left, right, top, bottom in PARTS:
    image = plt.imread(Path("runs") / name)
    height, width = image.shape[:2]
    images.append(image[int(top * height) : int(bottom * height),
                        int(left * width) : int(right * width)])

shapes = [image.shape[1] / image.shape[0] for image in images]
figure, axes = plt.subplots(1, len(images), figsize=(sum(shapes) * 3.2, 3.2), width_ratios=shapes)
for axis, image in zip(axes, images):
    axis.imshow(image, interpolation="lanczos")
    axis.axis("off")
figure.subplots_adjust(0, 0, 1, 1, wspace=0.03)
figure.savefig(Path(__file__).with_name("picture.png"), dpi=110)
