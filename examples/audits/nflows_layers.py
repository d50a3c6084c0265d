"""nflows: layers of flows, on vectors and on images (batch, channels, h, w)."""
import numpy as np
import torch
from nflows import transforms

from refvdm.conformance.objects import check_flow_layer, check_initialisation

LIBRARY, DTYPES = "nflows", ("float64",)
RNG = np.random.default_rng(0)
VECTORS, IMAGES = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 4, 2, 4))


def as_double(layer, shape):
    """In float64, with parameters that are nowhere 0, initialised on data if it wants to be."""
    layer = layer.double()
    layer.train()
    layer(torch.tensor(1 + 2 * RNG.standard_normal(shape)))
    layer.eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return layer


def calls(layer):
    return (lambda x: layer(torch.tensor(x)), lambda y: layer.inverse(torch.tensor(y)))


def reports():
    torch.manual_seed(0)
    for name, layer, x in (
            ("LULinear", transforms.LULinear(4), VECTORS),
            ("ActNorm", transforms.ActNorm(4), VECTORS),
            ("ActNorm on images", transforms.ActNorm(4), IMAGES),
            ("OneByOneConvolution", transforms.OneByOneConvolution(4), IMAGES),
            ("SqueezeTransform", transforms.SqueezeTransform(), IMAGES),
            ("QRLinear", transforms.QRLinear(4, 2), VECTORS),
            ("SVDLinear", transforms.SVDLinear(4, 2), VECTORS),
            ("BatchNorm", transforms.BatchNorm(4), VECTORS),
            ("MaskedAffineAutoregressiveTransform",
             transforms.MaskedAffineAutoregressiveTransform(4, 8), VECTORS),
            ("Sigmoid", transforms.Sigmoid(temperature=2.0), VECTORS)):
        yield name, check_flow_layer(*calls(as_double(layer, (8, *x.shape[1:]))), x)
    for name, shape, axes in (("vectors", (8, 4), (0,)), ("images", (8, 4, 2, 3), (0, 2, 3))):
        yield f"ActNorm's start, {name}", check_initialisation(
            lambda: calls(transforms.ActNorm(4).double())[0], 1 + 2 * RNG.standard_normal(shape),
            axes=axes)


def squeeze(x):
    y, _ = transforms.SqueezeTransform()(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    return y.permute(0, 2, 3, 1)
