"""The fields of the operations odeint and odeint_gradients, for any array library."""


def field(name, np):
    """f(z, t, theta) with this library's sin and tanh."""
    def forced(z, t, theta):
        D = z.shape[0]
        return theta[: D * D].reshape(D, D) @ z + theta[D * D :] * np.sin(2 * t)

    def tanh(z, t, theta):
        D = z.shape[0]
        return theta[: D * D].reshape(D, D) @ np.tanh(z + theta[D * D :] * t)
    return {"forced": forced, "tanh": tanh}[name]
