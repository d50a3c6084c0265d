"""The multilayer perceptron that the other operations' networks are made of, and its gradient."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..operation import Arrays, Mistake, operation

WEIGHTS = {"W1": "(n, n)", "b1": "(n,)", "W2": "(n, n)", "b2": "(n,)", "W3": "(n, n)", "b3": "(n,)"}
GIVEN = {"x": "(batch, n)", **WEIGHTS, "activation": "\"tanh\" or \"silu\" (z/(1 + e^-z))"}


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


ACTIVATIONS = {  # value and derivative
    "tanh": lambda z: (np.tanh(z), 1 - np.tanh(z) ** 2),
    "silu": lambda z: (z * _sigmoid(z), _sigmoid(z) * (1 + z * (1 - _sigmoid(z)))),
    "relu": lambda z: (np.maximum(z, 0), np.where(z > 0, 1, 0 * z)),
    "sigmoid": lambda z: (_sigmoid(z), _sigmoid(z) * (1 - _sigmoid(z)))}


def _cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for activation in ("tanh", "silu"):
        for batch, n in ((3, 4), (5, 3)):
            case: Arrays = {"x": 0.4 + rng.standard_normal((batch, n))}
            for layer in "123":
                case |= {f"W{layer}": rng.standard_normal((n, n)) / np.sqrt(n),
                         f"b{layer}": 0.5 * rng.standard_normal(n)}
            yield case | {"activation": activation}


def _vjp_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _cases(rng):
        yield case | {"y_bar": 0.3 + rng.standard_normal(case["x"].shape)}


def _transposed(**inputs: Any) -> Arrays:
    return {name: inputs[name].T for name in ("W1", "W2", "W3")}


def _no_bias(**inputs: Any) -> Arrays:
    return {name: 0 * inputs[name] for name in ("b1", "b2", "b3")}


def _other(activation: str) -> str:
    return {"tanh": "silu", "silu": "tanh"}[activation]


WRONG = (Mistake("W is stored (n_out, n_in), as torch's, and not transposed", inputs=_transposed),
         Mistake("biases are left out", inputs=_no_bias),
         Mistake("the activation is the other one",
                 inputs=lambda activation, **_: {"activation": _other(activation)}),
         Mistake("silu is taken for the sigmoid alone", inputs=lambda activation, **_: {
             "activation": "sigmoid" if activation == "silu" else activation}),
         Mistake("the activation is relu", inputs=lambda **_: {"activation": "relu"}),
         Mistake("the activation is the sigmoid", inputs=lambda **_: {"activation": "sigmoid"}))


def _layers(i: Arrays, last: bool = False) -> tuple:
    """y, and per layer its input and its activation's derivative."""
    h, kept = i["x"], []
    for layer in "123":
        z = h @ i[f"W{layer}"] + i[f"b{layer}"]
        active = layer != "3" or last
        value, slope = ACTIVATIONS[i["activation"]](z) if active else (z, np.ones_like(z))
        kept.append((h, slope))
        h = value
    return h, kept


@operation("the network of §13.3 and §13.4", inputs=GIVEN, outputs={"y": "(batch, n)"},
           cases=_cases,
           mistakes=(*WRONG,
                     Mistake("the last layer has no bias", inputs=lambda b3, **_: {"b3": 0 * b3}),
                     Mistake("the last layer is activated too",
                             instead=lambda **i: _layers(i, last=True)[0])))
def mlp(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, activation: Any) -> Any:
    """x @ W1 + b1, activation, @ W2 + b2, activation, @ W3 + b3"""
    return _layers({"x": x, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3, "b3": b3,
                    "activation": activation})[0]


def _pull(last: bool = False, **i: Any) -> tuple:
    bar, bars = i["y_bar"], {}
    for layer, (h, slope) in zip("321", reversed(_layers(i, last)[1])):
        bar = bar * slope
        bars[f"W{layer}"], bars[f"b{layer}"] = h.T @ bar, np.sum(bar, 0)
        bar = bar @ i[f"W{layer}"].T
    return (bar, *(bars[name] for name in WEIGHTS))


@operation("the network of §13.3 and §13.4", inputs=GIVEN | {"y_bar": "(batch, n): dL/dy"},
           outputs={"x_bar": "(batch, n)", **{f"{name}_bar": shape
                                              for name, shape in WEIGHTS.items()}},
           cases=_vjp_cases, mistakes=(
               *WRONG,
               Mistake("the last layer is activated too", instead=lambda **i: _pull(True, **i)),
               Mistake("y_bar is left out (the gradient of the sum of y)",
                       inputs=lambda y_bar, **_: {"y_bar": 1 + 0 * y_bar}),
               Mistake("gradients are means over the batch", outputs=lambda i, outputs: {
                   name: y / len(i["x"]) for name, y in outputs.items()}),
               Mistake("gradients of W are transposed", outputs=lambda i, outputs: {
                   name: y.T for name, y in outputs.items() if name.startswith("W")})))
def mlp_vjp(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, activation: Any,
            y_bar: Any) -> Any:
    """The gradients of Σ y_bar y in x and in the weights"""
    return _pull(x=x, W1=W1, b1=b1, W2=W2, b2=b2, W3=W3, b3=b3, activation=activation, y_bar=y_bar)
