"""The audit: public libraries, as they are installed, against the operations and the object checks.

    python examples/audits/run.py [NAME ...]        those adapters, or all whose library is there
    python examples/audits/run.py --findings        and write FINDINGS.md

Each adapter file names its library; what is not installed is told and left out. What to try next:
an adapter for the library that you use (`python -m refvdm.conformance new`).
"""
import argparse
import importlib
import importlib.metadata
import sys
import warnings
from pathlib import Path

from refvdm.conformance import check
from refvdm.conformance.objects import check_flow_layer, check_sampler

HERE = Path(__file__).parent
ADAPTERS = ("torch_distributions", "numpyro_distributions", "torchdiffeq_odeint",
            "torchdiffeq_adjoint", "jax_odeint", "diffrax_solve", "diffrax_backsolve",
            "nflows_layers", "normflows_layers", "diffusers_samplers")
HEAD = """# What the audit found

Written by `python examples/audits/run.py --findings`. Sizes are errors in tolerances (see
`refvdm/conformance/judge.py`); up to 1 agrees. "Differs" says that the numbers differ and, where it
is known, which convention or mistake gives exactly these numbers: a convention is no defect. The
reference is computed from the lecture's equations in extended precision; for samplers and flow
layers it is a closed form, or finite differences of the library's own code.

| library | adapter | what | verdict | size |
|---|---|---|---|---|
"""


def rows(name):
    """(library and version, adapter, what, verdict, size) of one adapter."""
    module = importlib.import_module(name)
    library = f"{module.LIBRARY} {importlib.metadata.version(module.LIBRARY)}"
    if hasattr(module, "use"):
        module.use()
    for dtype in module.DTYPES:
        module.dtype = dtype
        for v in check(module).verdicts:
            if v.status != "not implemented":
                yield library, name, f"{v.name}, {dtype}", verdict(v), f"{v.worst:.2g}"
    for what, forward, inverse, x in module.objects() if hasattr(module, "objects") else ():
        for v in check_flow_layer(forward, inverse, x).verdicts:
            yield library, name, f"{what}: {v.name}", verdict(v), f"{v.worst:.2g}"
    for what, *given in module.samplers() if hasattr(module, "samplers") else ():
        run, alpha_bars, times, output, final = given
        for v in check_sampler(run, alpha_bars, times, output=output, final=final).verdicts:
            yield library, name, f"{what}: {v.name}", verdict(v), f"{v.worst:.2g}"


def verdict(v):
    if v.status == "pass":
        return "agrees"
    return ("refused or failed: " if v.status == "error" else "differs: ") + v.why.split(";")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *ADAPTERS], metavar="NAME")
    parser.add_argument("--findings", action="store_true", help="write FINDINGS.md too")
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE))
    warnings.filterwarnings("ignore")
    lines = []
    for name in arguments.names or ADAPTERS:
        try:
            found = list(rows(name))
        except ImportError as error:
            print(f"{name}: not installed ({error.name})")
            continue
        for library, adapter, what, said, size in found:
            print(f"{library:22s} {what:58s} {said}")
            cells = (library, adapter, what, said.replace("|", "\\|"), size)
            lines.append("| " + " | ".join(cells) + " |")
    if arguments.findings:
        text = HEAD + "\n".join(lines) + "\n"
        (HERE / "FINDINGS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
