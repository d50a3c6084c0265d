"""refvdm: variational diffusion models, neural ODEs, flows and hierarchical VAEs as a readable NumPy reference."""
__version__ = "0.1.0"
