"""The audit: public libraries, as they are installed, against the operations and the object checks.

    python examples/audits/run.py [NAME ...]        those adapters, or all whose library is there
    python examples/audits/run.py --findings        and write FINDINGS.md

An adapter names its library; what is not installed is told and left out. Files in reproducers/ say
what is made of a difference: a verdict, a third derivation, and the fewest lines that show it. What
to try next: an adapter for the library that you use (`python -m refvdm.conformance new`).
"""
import argparse
import fnmatch
import importlib
import importlib.metadata
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from refvdm.conformance import check

HERE = Path(__file__).parent
ADAPTERS = ("torch_distributions", "numpyro_distributions", "distrax_distributions",
            "tfp_distributions", "torchdiffeq_odeint", "torchdiffeq_adjoint",
            "torchdiffeq_methods", "torchdyn_solvers", "torchdyn_gradients", "jax_odeint",
            "diffrax_solve", "diffrax_backsolve", "nflows_layers", "normflows_layers",
            "freia_layers", "zuko_layers", "flowjax_layers", "diffusers_samplers",
            "diffusers_ddpm", "diffusers_solvers", "diffusers_schedules", "diffusers_runs",
            "lucidrains_discrete", "lucidrains_noise", "lucidrains_continuous",
            "lucidrains_learned", "kdiffusion_samplers", "kdiffusion_losses")
HEAD = """# What the audit found

Written by `python examples/audits/run.py --findings`. Verdicts: *agrees*; *another convention*,
named; *approximation*; *numerically poor*; *wrong*; *refused* (it raises, or gives no number).
Sizes are errors in tolerances (see `refvdm/conformance/tolerance.py`); up to 1 agrees. The
reference is computed from the lecture's equations in extended precision; for samplers and losses it
is a closed form for Gaussian data, for layers and gradients finite differences of the library's own
code. Nothing is called wrong without a third derivation, told with the fewest lines that show it.

"""


class Finding(NamedTuple):
    """A file of reproducers/: what is made of a difference."""

    title: str
    adapter: str
    about: list  # patterns of "what: verdict's name"
    verdict: str
    third: str
    code: str
    file: Path


def read_finding(file):
    """From a file whose docstring is a title and lines `key: value`, and whose rest is the code."""
    _, doc, code = file.read_text(encoding="utf-8").split('"""', 2)
    title, _, rest = doc.partition("\n")
    keys = {}
    for line in rest.split("\n"):
        key, colon, value = line.partition(": ")
        if colon and key in ("adapter", "about", "verdict", "third"):
            keys[key] = value
        elif line.strip():
            keys[list(keys)[-1]] += " " + line.strip()
    about = [pattern.strip() for pattern in keys.pop("about").split(";")]
    return Finding(title, about=about, code=code.strip(), file=file, **keys)


def rows(name):
    """(library and version, what, verdict of the check) of one adapter."""
    module = importlib.import_module(name)
    library = f"{module.LIBRARY} {importlib.metadata.version(module.LIBRARY)}"
    if hasattr(module, "use"):
        module.use()
    for dtype in module.DTYPES:
        module.dtype = dtype
        for v in check(module).verdicts:
            if v.status != "not implemented":
                yield library, f"{v.name}, {dtype}", v
    for what, report in module.reports() if hasattr(module, "reports") else ():
        for v in report.verdicts:
            yield library, f"{what}: {v.name}", v


def judged(name, what, v, findings):
    """The finding that this difference belongs to, or None."""
    return next((f for f in findings if f.adapter == name and v.status != "pass"
                 and any(fnmatch.fnmatchcase(what, pattern) for pattern in f.about)), None)


def said(name, what, v, findings):
    if v.status == "pass":
        return "agrees"
    finding = judged(name, what, v, findings)
    return f"{finding.verdict}: {finding.title}" if finding else f"not judged: {v.why}"


def table(found, findings):
    """Lines of Markdown: rows of one adapter and one verdict are told together."""
    lines = ["| library | adapter | what | verdict | worst size |", "|---|---|---|---|---|"]
    groups = {}
    for name, library, what, v in found:
        key = library, name, said(name, what, v, findings)
        groups.setdefault(key, []).append((what, v))
    for (library, name, verdict), members in groups.items():
        subjects = {}
        for what, _ in members:
            subject, _, part = what.rpartition(": ")
            subjects.setdefault(subject or part, []).append(part)
        told = few(list(subjects), len(members))
        sizes = [v.worst for _, v in members]
        cells = (library, name, told, verdict, f"{max(sizes):.2g}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*")
                                       for cell in cells) + " |")
    return lines


def few(subjects, checks):
    """The first and the last of many; their adapter, and a run of it, name them all."""
    shown = subjects if len(subjects) <= 5 else [*subjects[:3], "...", subjects[-1]]
    return "; ".join(shown) + f" ({checks} check{'s' * (checks > 1)})"


def section(finding):
    """A finding, its third derivation, its code and what that printed."""
    try:
        ran = subprocess.run([sys.executable, "-W", "ignore", str(finding.file)], check=False,
                             timeout=60, capture_output=True, text=True)
        raised = ran.stderr.strip().splitlines()[-1:] if ran.returncode else []
        printed = "\n".join([*ran.stdout.strip().splitlines(), *raised])
    except subprocess.TimeoutExpired:
        printed = "(no answer in a minute)"
    told = f"**{finding.verdict}** ({finding.adapter}). Third derivation: {finding.third}"
    return ["", f"### {finding.title}", "", told, "", "```python", finding.code, "```", "",
            "prints", "", "```", printed, "```"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *ADAPTERS], metavar="NAME")
    parser.add_argument("--findings", action="store_true", help="write FINDINGS.md too")
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE))
    warnings.filterwarnings("ignore")
    findings = [read_finding(file) for file in sorted((HERE / "reproducers").glob("*.py"))]
    found = []
    for name in arguments.names or ADAPTERS:
        try:
            for library, what, v in rows(name):
                found.append((name, library, what, v))
                print(f"{library:22s} {what:62s} {said(name, what, v, findings)}", flush=True)
        except ImportError as error:
            print(f"{name}: not installed ({error})")
    shown = [f for f in findings if any(judged(name, what, v, findings) is f
                                        for name, _, what, v in found)]
    if not arguments.names:
        for finding in [f for f in findings if f not in shown]:
            print(f"{finding.file.name}: no difference belongs to it")
    if arguments.findings:
        lines = table(found, findings) + ["", "## What differs"]
        for finding in shown:
            lines += section(finding)
        (HERE / "FINDINGS.md").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
