"""The words that the core and the media share, from one place; their modules load on first use."""

from convcli.common import on_first_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from convcli.data.axes import *
    from convcli.data.box import *
    from convcli.data.info import *
    from convcli.data.units import *
else:
    __getattr__ = on_first_use(__name__, "box", "axes", "units", "info")
