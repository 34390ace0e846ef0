"""``convcli motion``: the command line.  The work is in `convcli.cli.motion.work`, loaded once this makes sense."""

from convcli.cli.motion.request import Request
from convcli.cli.shared.command import takes_options
from convcli.common import ConvError, UsageError

NONE_FOUND = 1
TROUBLE = 2


def _check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if request.output is not None and request.no_output:
        raise UsageError("--output and --no-output: give one of them")
    if request.overlay and request.no_output:
        raise UsageError("--overlay draws on the output, and --no-output writes none")
    if request.denoise < 1:
        raise UsageError(f"denoise {request.denoise} is not possible: give a number of frames from 1 on")
    if request.events == "-" and (request.json or request.output == "-"):
        raise UsageError("--events - and another output: only one thing goes to standard output")
    if request.output == "-" and request.json:
        raise UsageError("--json and -o -: only one thing goes to standard output")


@takes_options
def motion(request: Request) -> int:
    """Find motion in a clip: when, where, how much, and a picture of it.

    Grey (exactly 128) is rest, lighter and darker are motion. Times are seconds in the clip; a change
    belongs to the newer of two frames.

    \b
    A camera that shakes: every edge moves, all is one event; try --region.
    A light that flickers: part of auto; else --stabilise-light.
    Sensor noise: the threshold rises above it; --denoise 3 finds more.

    \b
    Examples:
      convcli motion clip.mp4
      convcli motion clip.mp4 --no-output --events - | head
      convcli motion clip.mp4 --overlay -o seen.mp4 --heatmap where.png
      convcli motion door.mp4 --no-output --exit-code -q && echo someone came
    """
    try:
        _check(request)
        from convcli.cli.motion.work import detect

        found = detect(request)
    except ConvError as error:
        if request.exit_code:
            error.exit_code = TROUBLE
        raise
    return NONE_FOUND if request.exit_code and not found else 0
