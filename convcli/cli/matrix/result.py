"""What ``convcli matrix`` makes, apart from how it is shown: text and JSON are made of it in ``text``."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from convcli.common.frozen import frozen_identity
from convcli.explanations.matrix import Matrix

SPARSE = ".npz"


@frozen_identity
class Verdict:
    """The product of matrix and input beside what ``filter`` computes, both as vectors."""

    x: np.ndarray
    product: np.ndarray
    filtered: np.ndarray
    bound: float

    @property
    def difference(self) -> float:
        """The largest difference; NaN and infinity differ from all but themselves."""
        alike = (self.product == self.filtered) | (np.isnan(self.product) & np.isnan(self.filtered))
        with np.errstate(invalid="ignore"):
            gaps = np.where(alike, 0.0, np.abs(self.product - self.filtered))
        return float(np.nan_to_num(gaps, nan=np.inf).max())

    @property
    def holds(self) -> bool:
        """Whether they are equal up to the rounding of sums in another order."""
        return self.difference <= self.bound


@frozen_identity
class Made:
    """A matrix, whether it does what ``filter`` does, and where it was written."""

    matrix: Matrix
    verdict: Verdict | None
    path: str | None

    @property
    def loses_offset(self) -> bool:
        """Whether bias and constant padding are not in the file."""
        sparse = self.path is not None and PurePath(self.path).suffix.lower() == SPARSE
        return sparse and bool(self.matrix.offset.any())
