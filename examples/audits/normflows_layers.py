"""normflows: layers of flows, on vectors and on images (batch, channels, h, w)."""
import normflows
import numpy as np
import torch

from refvdm.conformance.objects import check_flow_layer, check_initialisation

LIBRARY, DTYPES = "normflows", ("float64",)
RNG = np.random.default_rng(0)
VECTORS, IMAGES = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 4, 2, 4))


def calls(layer):
    def call(f):
        def with_log_det(x):
            y, log_det = f(torch.tensor(x))
            return y, log_det + torch.zeros(len(x), dtype=torch.float64)
        return with_log_det
    return call(layer.forward), call(layer.inverse)


def reports():
    torch.manual_seed(0)
    for name, layer, x in (
            ("ActNorm", normflows.flows.ActNorm(4), VECTORS),
            ("ActNorm on images", normflows.flows.ActNorm((4, 1, 1)), IMAGES),
            ("Invertible1x1Conv, LU", normflows.flows.Invertible1x1Conv(4, use_lu=True), IMAGES),
            ("Invertible1x1Conv", normflows.flows.Invertible1x1Conv(4), IMAGES),
            ("LULinearPermute", normflows.flows.LULinearPermute(4), VECTORS),
            ("AffineConstFlow on images", normflows.flows.AffineConstFlow((4, 1, 1)), IMAGES),
            ("GlowBlock", normflows.flows.GlowBlock(4, 8), IMAGES),
            ("MaskedAffineAutoregressive", normflows.flows.MaskedAffineAutoregressive(4, 8),
             VECTORS),
            ("Squeeze", normflows.flows.Squeeze(), IMAGES)):
        layer = layer.double()
        with torch.no_grad():
            layer(torch.tensor(1 + 2 * RNG.standard_normal((8, *x.shape[1:]))))
            for parameter in layer.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        yield name, check_flow_layer(*calls(layer), x)
    for name, size, shape, axes in (("vectors", 4, (8, 4), (0,)),
                                    ("images", (4, 1, 1), (8, 4, 2, 3), (0, 2, 3))):
        yield f"ActNorm's start, {name}", check_initialisation(
            lambda size=size: calls(normflows.flows.ActNorm(size).double())[0],
            1 + 2 * RNG.standard_normal(shape), axes=axes)
