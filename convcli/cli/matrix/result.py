"""What ``convcli matrix`` makes, apart from how it is shown: its facts are the JSON, its text is made in ``text``."""

from __future__ import annotations

from math import prod
from pathlib import PurePath
from typing import Any

import numpy as np

from convcli.common.frozen import frozen_identity
from convcli.explanations.matrix import Matrix

SPARSE = ".npz"
MOST_LISTED = 10_000  # numbers of a matrix in JSON


@frozen_identity
class Verdict:
    """The product of matrix and input beside what ``filter`` computes, both as vectors."""

    x: np.ndarray
    product: np.ndarray
    filtered: np.ndarray
    bound: float

    facts = ("equal", "difference")

    @property
    def difference(self) -> float:
        """The largest difference; NaN and infinity differ from all but themselves."""
        alike = (self.product == self.filtered) | (np.isnan(self.product) & np.isnan(self.filtered))
        with np.errstate(invalid="ignore"):
            gaps = np.where(alike, 0.0, np.abs(self.product - self.filtered))
        return float(np.nan_to_num(gaps, nan=np.inf).max())

    @property
    def equal(self) -> bool:
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

    @property
    def facts(self) -> dict[str, Any]:
        matrix = self.matrix
        found = {name: getattr(matrix, name) for name in ("shape", "inputs", "outputs")}
        found |= {"entries": len(matrix.values), "structure": matrix.structure, "blocks": matrix.blocks}
        if prod(matrix.shape) <= MOST_LISTED:
            found |= {"matrix": matrix.dense(), "offset": matrix.offset}
        return found | ({} if self.verdict is None else {"verify": self.verdict})
