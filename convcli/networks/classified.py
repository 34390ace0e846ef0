"""How a classifier did on examples whose classes are known: counts, shares, and where it erred most.

Numbers in, records out; no files, no torch.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from convcli.common import frozen


@frozen
class Verdict:
    """What a classifier said of one file: the class found, and the probabilities of it and of the true one."""

    file: str
    true: int
    found: int
    probability: float
    of_true: float

    @classmethod
    def of(cls, file: str, true: int, scores: Sequence[float], *, softmax: bool) -> "Verdict":
        """Return the verdict of a row of scores, which ``softmax`` makes probabilities of where they are none yet.

        >>> Verdict.of("a.png", 0, [0.0, np.log(3)], softmax=True)
        Verdict(file='a.png', true=0, found=1, probability=0.75, of_true=0.25)
        """
        values = np.asarray(scores, float)
        if softmax:
            values = np.exp(values - values.max())
            values = values / values.sum()
        found = int(values.argmax())
        return cls(file, true, found, round(float(values[found]), 12), round(float(values[true]), 12))


@frozen
class ClassResult:
    """One class: how many files are of it and are found to be, and the shares of these that are right."""

    name: str
    files: int
    found: int
    recall: float | None
    precision: float | None


@frozen
class Classified:
    """The verdicts on all examples; ``names`` are those of the classes, in order."""

    names: Sequence[str]
    verdicts: Sequence[Verdict]

    @cached_property
    def confusion(self) -> np.ndarray:
        """How often each class (rows) was found to be each (columns)."""
        counts = np.zeros((len(self.names),) * 2, int)
        np.add.at(counts, ([one.true for one in self.verdicts], [one.found for one in self.verdicts]), 1)
        return counts

    @property
    def right(self) -> int:
        return int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        return self.right / len(self.verdicts)

    @property
    def classes(self) -> list[ClassResult]:
        """A result for each class; a share is None where nothing is of that class, or found to be."""
        rows = zip(self.names, self.confusion, self.confusion.T, self.confusion.diagonal(), strict=True)
        return [
            ClassResult(name, n := int(true.sum()), m := int(found.sum()), _share(hit, n), _share(hit, m))
            for name, true, found, hit in rows
        ]

    def worst(self, count: int) -> list[Verdict]:
        """Return the examples whose true class got the least probability."""
        return sorted(self.verdicts, key=lambda one: one.of_true)[:count]

    @property
    def facts(self) -> dict[str, object]:
        names = ("names", "accuracy", "classes", "confusion", "verdicts")
        return {name: getattr(self, name) for name in names}


def _share(part: int, of: int) -> float | None:
    return int(part) / of if of else None
