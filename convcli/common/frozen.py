"""Frozen dataclasses that are quick to define.

`dataclasses.dataclass(frozen=True)` compiles six methods for each class.  On the way of a small job there are forty
classes, which would be a seventh of its time (measured with Python 3.11): here only ``__init__`` is compiled, and the
other methods are the same for all.
"""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from functools import partial
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def frozen(cls: type[T]) -> type[T]: ...
@overload
def frozen(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T] | None = None, *, kw_only: bool = False) -> Any:
    """Do what ``@dataclass(frozen=True)`` does, except for fields with ``init=False`` or ``hash=...``.

    >>> @frozen
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(3), Point(3) == Point(3, 0), len({Point(3), Point(3, 1)})
    (Point(x=3, y=0), True, 2)
    >>> Point(3).x = 4
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to 'x'
    """
    if cls is None:
        return partial(_with, kw_only=kw_only, __repr__=_repr, __eq__=_eq, __hash__=_hash)
    return _with(cls, __repr__=_repr, __eq__=_eq, __hash__=_hash)


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(field,))
def frozen_identity(cls: type[T]) -> type[T]:
    """Do what ``@dataclass(frozen=True, eq=False)`` does: an instance equals only itself."""
    return _with(cls, __repr__=_repr)


def _with(cls: type[T], kw_only: bool = False, **methods: Callable[..., Any]) -> type[T]:
    made = dataclass(repr=False, eq=False, kw_only=kw_only)(cls)
    for name, method in methods.items():
        if name not in vars(cls):
            setattr(made, name, method)
    made.__setattr__ = _set_once  # type: ignore[method-assign]
    made.__delattr__ = _delete  # type: ignore[method-assign]
    made.__getstate__ = _fields  # type: ignore[method-assign]
    return made


def _set_once(self: Any, name: str, value: Any) -> None:
    """Used by ``__init__`` only."""
    if name in self.__dict__ or name not in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot assign to {name!r}")
    self.__dict__[name] = value


def _delete(_: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete {name!r}")


def _fields(self: Any) -> dict[str, Any]:
    """Serve `pickle`: fields alone, not what was worked out of them and is kept beside them."""
    return {name: value for name, value in self.__dict__.items() if name in self.__dataclass_fields__}


def _repr(self: Any) -> str:
    shown = (name for name, one in self.__dataclass_fields__.items() if one.repr)
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name, one in self.__dataclass_fields__.items() if one.compare])


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))
