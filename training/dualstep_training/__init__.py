"""Training of Dualstep's two networks: data, degradation, model, export. Start with `training/README.md`."""

__version__ = "0.1.0"
