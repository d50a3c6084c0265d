"""The fields of the operations odeint and odeint_gradients, for any array library, and a loss at
three times whose gradients are asked of each method of a solver."""
import numpy

Z0, TS = numpy.array([1.0, -0.4]), numpy.array([0.3, 0.7, 1.5])
THETA = numpy.array([-0.5, 1.2, -0.9, 0.3, 0.4, -0.2])
WEIGHTS = numpy.array([[0.3, -1.0], [1.2, 0.5], [-0.7, 0.8]])  # loss = sum of WEIGHTS * zs


def field(name, np):
    """f(z, t, theta) with this library's sin and tanh."""
    def forced(z, t, theta):
        D = z.shape[0]
        return theta[: D * D].reshape(D, D) @ z + theta[D * D :] * np.sin(2 * t)

    def tanh(z, t, theta):
        D = z.shape[0]
        return theta[: D * D].reshape(D, D) @ np.tanh(z + theta[D * D :] * t)
    return {"forced": forced, "tanh": tanh}[name]
