"""``convcli motion``: its exit code.  The work is in `convcli.cli.motion.work`."""

from convcli.cli.motion.request import Request
from convcli.common import ConvError

NONE_FOUND = 1
TROUBLE = 2


def motion(request: Request) -> int:
    """Find motion; an error of whatever kind, a library that cannot load included, is trouble."""
    try:
        from convcli.cli.motion.work import detect

        found = detect(request)
    except ConvError as error:
        if request.exit_code:
            error.exit_code = TROUBLE
        raise
    return NONE_FOUND if request.exit_code and not found else 0
