"""Learning: kernels from examples by least squares, whole nets by gradients, and what those gradients are.

`least_squares` and `gradients` are numpy alone; the leaves `torch_*` import torch.  `training` holds
what a training is told and what it reports.  Arrays come in and go out: nothing here
reads a picture or prints a line.
"""
