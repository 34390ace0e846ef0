"""The parsed command line of ``matrix``."""

from convcli.common.frozen import frozen
from convcli.jobs.bind import Settings


@frozen
class Request:
    """A parsed command line of ``matrix``; ``size`` is channels and space sizes."""

    size: tuple[int | None, tuple[int, ...]] | None
    kernel: str
    settings: Settings
    output: str | None
    verify: str | None
    force: bool
    quiet: bool
    json: bool
