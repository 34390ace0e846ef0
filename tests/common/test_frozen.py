"""Frozen classes behave as those of `dataclasses`, class for class."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from functools import cached_property

import pytest

from convcli.common.frozen import frozen, frozen_identity


@frozen
class Point:
    x: int
    y: int = 0
    marks: list[int] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            object.__setattr__(self, "x", -self.x)

    @cached_property
    def length(self) -> float:
        return (self.x**2 + self.y**2) ** 0.5


@frozen
class Weighted(Point):
    weight: float = 1.0


@frozen_identity
class Place:
    name: str


@dataclass(frozen=True)
class Model:
    """What the others are to be like."""

    x: int
    y: int = 0
    marks: list[int] = field(default_factory=list, compare=False, repr=False)


def test_what_is_equal_and_what_it_looks_like() -> None:
    assert Point(3, 4) == Point(-3, y=4, marks=[7])
    assert Point(3, 4) != Point(3, 5)
    assert Weighted(3, 4) != Point(3, 4)
    assert Weighted(3, 4, weight=2.0) != Weighted(3, 4)
    assert Point(3) != (3, 0, [])
    assert hash(Point(3, 4)) == hash(Model(3, 4)) == hash(Point(3, 4, [1]))
    assert repr(Point(3, 4)) == repr(Model(3, 4)).replace("Model", "Point")
    assert repr(Weighted(1)) == "Weighted(x=1, y=0, weight=1.0)"
    assert Place("a") != Place("a")
    assert repr(Place("a")) == "Place(name='a')"


@pytest.mark.parametrize("make", [Point, Model])
def test_nothing_changes(make: type[Point | Model]) -> None:
    point = make(3, 4)
    for name in ("x", "marks", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(point, name, 1)
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert (point.x, point.y, point.marks) == (3, 4, [])
    with pytest.raises(TypeError, match="'x'"):
        make()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'z'"):
        make(1, z=2)  # type: ignore[call-arg]


def test_copies_and_what_is_worked_out_later() -> None:
    point = Weighted(3, 4)
    assert point.length == 5
    assert replace(point, y=0).length == 3
    assert asdict(point) == {"x": 3, "y": 4, "marks": [], "weight": 1.0}
    assert copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    assert point.length and "length" not in vars(pickle.loads(pickle.dumps(point)))
