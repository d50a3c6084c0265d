"""zuko: transforms, and the densities of its flows against change of variables by differences."""
import numpy as np
import torch
from zuko import flows, transforms

from refvdm.conformance.objects import check_flow_layer, check_likelihood

LIBRARY, DTYPES = "zuko", ()
RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((3, 4))


def calls(transform):
    def call(f):
        def with_log_det(x):
            x = torch.tensor(x)
            y = f(x)
            return y, f.log_abs_det_jacobian(x, y).reshape(len(x), -1).sum(1)
        return with_log_det
    return call(transform), call(transform.inv)


def reports():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    r, t = torch.randn, transforms
    for made in (t.LULinearTransform(r(4, 4)), t.RotationTransform(r(4, 4)),
                 t.PermutationTransform(torch.tensor([2, 0, 3, 1])), t.SoftclipTransform(),
                 t.MonotonicAffineTransform(r(4), r(4)), t.BernsteinTransform(r(4, 9)),
                 t.MonotonicRQSTransform(r(4, 8), r(4, 8), r(4, 7)),
                 t.SignedPowerTransform(torch.tensor(0.3)),
                 t.FreeFormJacobianTransform(lambda t, x: torch.tanh(x.roll(1, -1)) * torch.cos(t),
                                             torch.tensor(1.0), exact=True)):
        yield type(made).__name__, check_flow_layer(*calls(made), VECTORS)
    for name in ("NICE", "RealNVP", "MAF", "NSF", "SOSPF", "NAF", "UNAF", "GF", "BPF"):
        flow = getattr(flows, name)(4, transforms=1)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        yield f"{name}'s transform", check_flow_layer(*calls(flow().transform), VECTORS)
        x = torch.tensor(VECTORS)
        jacobian = torch.stack([torch.autograd.functional.jacobian(
            lambda a, f=flow: f().transform(a), row) for row in x])
        y = flow().transform(x)
        exact = -(y**2).sum(1) / 2 - 2 * np.log(2 * np.pi) + torch.linalg.slogdet(jacobian)[1]
        yield f"{name}'s density", check_likelihood(
            lambda a, f=flow: f().log_prob(torch.tensor(a)), VECTORS, exact.detach().numpy())
    torch.set_default_dtype(torch.float32)
