"""Names that most modules import, from one place.

`numbers` and `choices` load on first use, so that the list of commands starts without them.
"""

from convcli.common.errors import ConvError, UsageError, about, printable, unreadable, within
from convcli.common.frozen import frozen, frozen_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from convcli.common.choices import *
    from convcli.common.numbers import *


def on_first_use(package: str, *modules: str):  # type: ignore[no-untyped-def]
    """Return the ``__getattr__`` of a package that finds names in its modules, which load when looked at."""

    def found(name: str) -> object:
        from importlib import import_module

        for module in (import_module(f"{package}.{one}") for one in modules):
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return found


if not TYPE_CHECKING:
    __getattr__ = on_first_use(__name__, "numbers", "choices")
