"""FrEIA: layers of flows, on vectors and on images (channels, h, w)."""
import numpy as np
import torch
from FrEIA import modules

from refvdm.conformance.objects import check_flow_layer, check_initialisation

LIBRARY, DTYPES = "FrEIA", ()
RNG = np.random.default_rng(0)
VECTORS, IMAGES = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 4, 2, 6))
V, IMG = [(4,)], [(4, 2, 6)]


def subnet(n_in, n_out):
    return torch.nn.Sequential(torch.nn.Linear(n_in, 8), torch.nn.Tanh(), torch.nn.Linear(8, n_out))


def calls(layer):
    def call(rev):
        def with_log_det(x):
            y, log_det = layer([torch.tensor(x)], rev=rev)
            return y[0], log_det + torch.zeros(len(x))
        return with_log_det
    return call(False), call(True)


def layers():
    net, m = {"subnet_constructor": subnet}, modules
    for layer in (m.PermuteRandom(V), m.RNVPCouplingBlock(V, **net), m.GLOWCouplingBlock(V, **net),
                  m.GINCouplingBlock(V, **net), m.NICECouplingBlock(V, **net),
                  m.AffineCouplingOneSided(V, **net), m.AllInOneBlock(V, **net),
                  m.HouseholderPerm(V, n_reflections=2),
                  m.FixedLinearTransform(V, M=torch.randn(4, 4), b=torch.randn(4)),
                  m.InvertibleSigmoid(V), m.LearnedElementwiseScaling(V)):
        yield layer, VECTORS
    for layer in (m.Fixed1x1Conv(IMG, M=torch.randn(4, 4)), m.HaarDownsampling(IMG, rebalance=2.0),
                  m.HaarUpsampling(IMG), m.IRevNetDownsampling(IMG), m.IRevNetUpsampling(IMG),
                  m.LearnedElementwiseScaling(IMG), m.InvertibleSigmoid(IMG)):
        yield layer, IMAGES


def reports():
    torch.manual_seed(0)
    for layer, x in layers():
        with torch.no_grad():  # nowhere at its start
            for p in layer.double().parameters():
                p += 0.1 * torch.randn_like(p) if p.requires_grad else 0
        where = " on images" if x is IMAGES else ""
        yield type(layer).__name__ + where, check_flow_layer(*calls(layer.eval()), x)
    for name, dims, shape, axes in (("vectors", V, (8, 4), (0,)),
                                    ("images", IMG, (8, 4, 2, 6), (0, 2, 3))):
        yield f"ActNorm's start, {name}", check_initialisation(
            lambda dims=dims: calls(modules.ActNorm(dims).double())[0],
            1 + 2 * RNG.standard_normal(shape), axes=axes)
