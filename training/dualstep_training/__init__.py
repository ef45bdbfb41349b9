"""Training of Dualstep's two networks: data, degradation, model, export. Start with `training/README.md`."""

import os

__version__ = "0.1.0"

# OpenBLAS keeps its own spinning threads beside torch's; on a busy machine the recurrent layer's many small products
# then cost several times more. One is right: torch's threads share out the convolutions.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
