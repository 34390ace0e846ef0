"""The torch engine: torch's own direct convolutions, on the processor or on a CUDA device.

Importing this module imports torch, which takes longer than many a job: `convcli.engines.get_engine` does so
only on request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from convcli.engines.base import (
    MAX_RANK,
    all_finite,
    correlation_sizes,
    pool_sizes,
    transposed_sizes,
)
from convcli.engines.numpy_engine import NumpyEngine
from convcli.errors import UsageError
from convcli.layers import PoolKind

RUN = 256
