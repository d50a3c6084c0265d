"""An adapter in plain Python: JSON lines over stdin and stdout, no NumPy.

    python -m refvdm.conformance run --command "python examples/adapters/plain_python.py"

The pattern for other languages. Each request is one line, each answer one line with the same id; an
array is {"dtype", "shape", "data"}, its data flat, by rows. What to try next: break a formula, and
see what the report calls it.
"""
import json
import math
import sys


def array(data, shape):
    return {"dtype": "float64", "shape": shape, "data": data}


def q_step(x_prev, betas, t):
    """13.26."""
    (n, D), beta = x_prev["shape"], [betas["data"][i - 1] for i in t["data"]]
    mean = [math.sqrt(1 - beta[i // D]) * x for i, x in enumerate(x_prev["data"])]
    return {"mean": array(mean, [n, D]), "var": array(beta, [n])}


def q_marginal(x_0, betas, t):
    """13.28."""
    (n, D) = x_0["shape"]
    alpha_bar = [math.prod(1 - beta for beta in betas["data"][:i]) for i in t["data"]]
    mean = [math.sqrt(alpha_bar[i // D]) * x for i, x in enumerate(x_0["data"])]
    return {"mean": array(mean, [n, D]), "var": array([1 - a for a in alpha_bar], [n])}


OPERATIONS = {"q_step": q_step, "q_marginal": q_marginal}

for line in sys.stdin:
    request = json.loads(line)
    if request["operation"] == "hello":
        reply = {"operations": list(OPERATIONS), "dtype": "float64"}
    else:
        reply = {"outputs": OPERATIONS[request["operation"]](**request["inputs"])}
    print(json.dumps({"id": request["id"], **reply}), flush=True)
