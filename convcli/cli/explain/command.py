"""``convcli explain``: the command line.  The work is in `convcli.cli.explain.work`, loaded once this makes sense."""

from convcli.cli.explain.request import FieldOptions, Request
from convcli.cli.shared.command import takes_options
from convcli.common import UsageError
from convcli.jobs.bind import Settings


def _check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if request.field != FieldOptions():
        raise UsageError("--layer, --weights and --seed belong to --receptive-field NET")
    if (request.input is None) == (request.size is None):
        raise UsageError("give either a file, or --input SIZE for the numbers 1, 2, 3, ...")
    if not request.kernels and request.settings.pool is None:
        raise UsageError("nothing to explain: give a kernel (-k NAME, see `convcli kernels list`) or --pool")
    if request.at is None and request.animate is None:
        raise UsageError("--at says which output value to explain, such as --at 0,0 (or --animate OUT.gif)")
    if request.at is None and request.output is not None:
        raise UsageError("-o draws one output: say which with --at (--animate draws all of them)")
    if not 0.1 <= request.fps <= 30:
        raise UsageError(f"--fps {request.fps:g} is not possible: give 0.1 to 30 frames a second")


def _check_field(request: Request) -> None:
    """The same of ``--receptive-field``."""
    misplaced = request.kernels or request.settings.pool or request.animate or request.size
    if request.input is None or request.at is None or misplaced:
        raise UsageError(
            "--receptive-field NET needs a file and --at, and goes without kernels and --animate"
        )
    if request.settings != Settings():
        raise UsageError("--receptive-field NET goes without options of a kernel: the net has its own")


@takes_options
def explain(request: Request) -> None:
    """Take one output value apart: taps, products, sum.

    For a pool it says where the maximum came from and where the gradient goes,
    for a transposed convolution which inputs contribute.

    \b
    Examples:
      convcli explain photo.png -k sobel-x --at 40,25
      convcli explain table.csv -k smooth3 --at 0
      convcli explain photo.png --pool max:2 --at 3,7 -o window.png
      convcli explain --input 3x3 -k 2x2 --transpose --stride 2 --at 1,1
      convcli explain --animate a.gif --input 5x5 -k 3x3 --stride 2 --padding 1
      convcli explain photo.png --receptive-field net.yaml --at 4,4 -o field.png
    """
    if request.field.net is not None:
        _check_field(request)
        from convcli.cli.explain.field import explain_field

        explain_field(request, request.field.net)
    else:
        _check(request)
        from convcli.cli.explain.work import explain_all

        explain_all(request)
