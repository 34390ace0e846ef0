"""Names that most modules import, from one place.

`numbers` and `choices` load on first use, so that the list of commands starts without them.
"""

from convcli.common.errors import ConvError, UsageError, about, printable, unreadable, within
from convcli.common.frozen import frozen, frozen_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from convcli.common.choices import *
    from convcli.common.numbers import *
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        modules = (import_module(f"convcli.common.{one}") for one in ("numbers", "choices"))
        for module in modules:
            if name in vars(module):
                return vars(module)[name]
        raise AttributeError(f"module 'convcli.common' has no attribute {name!r}")
