"""flowjax: bijections."""
import jax

jax.config.update("jax_enable_x64", True)
import flowjax.bijections as b
import jax.numpy as jnp
import numpy as np

from refvdm.conformance.objects import check_flow_layer

LIBRARY, DTYPES = "flowjax", ()
RNG = np.random.default_rng(0)
VECTORS, IMAGES = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 2, 3))


def bijections():
    key, slopes = jax.random.key(0), jnp.arange(1.0, 5.0)
    W = jnp.array(RNG.standard_normal((4, 4))) + 3 * jnp.eye(4)
    steep = {"transformer": b.Affine(), "dim": 4, "nn_width": 8, "nn_depth": 1}
    for made in (b.Affine(jnp.arange(4.0), slopes), b.Scale(slopes), b.TriangularAffine(slopes, W),
                 b.TriangularAffine(slopes, W, lower=False), b.LeakyTanh(1.0, (4,)), b.Exp((4,)),
                 b.SoftPlus((4,)), b.Permute(jnp.array([2, 0, 3, 1])), b.Flip((4,)),
                 b.Vmap(b.RationalQuadraticSpline(knots=6, interval=3), axis_size=4),
                 b.Planar(key, dim=4, negative_slope=0.2), b.MaskedAutoregressive(key, **steep),
                 b.Coupling(key, untransformed_dim=2, **steep),
                 b.Concatenate([b.Exp((2,)), b.Scale(jnp.array([2.0, 3.0]))])):
        yield made, VECTORS
    yield b.Reshape(b.Affine(jnp.zeros(6), jnp.arange(1.0, 7.0)), (2, 3)), IMAGES
    yield b.Stack([b.Exp((3,)), b.Scale(jnp.array([2.0, 3.0, 4.0]))]), IMAGES


def reports():
    for made, x in bijections():
        def call(f):
            return lambda a: jax.vmap(f)(jnp.asarray(a))
        yield type(made).__name__, check_flow_layer(call(made.transform_and_log_det),
                                                    call(made.inverse_and_log_det), x)
