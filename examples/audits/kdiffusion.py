"""k-diffusion's modules without what its __init__ needs beside them (CLIP, training)."""
import importlib.util
import sys
import types


def load():
    """The modules sampling, layers and utils."""
    if "k_diffusion" not in sys.modules:
        spec = importlib.util.find_spec("k_diffusion")
        if spec is None:
            raise ImportError("k_diffusion")
        package = types.ModuleType("k_diffusion")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["k_diffusion"] = package
    return tuple(importlib.import_module(f"k_diffusion.{name}")
                 for name in ("sampling", "layers", "utils", "external"))
