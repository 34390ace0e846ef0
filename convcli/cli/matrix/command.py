"""``convcli matrix``: the command line.  The work is in `convcli.cli.matrix.work`, loaded once this makes sense."""

from convcli.cli.matrix.request import Request
from convcli.cli.shared.command import takes_options
from convcli.common import ConvError, UsageError


@takes_options
def matrix(request: Request) -> None:
    """Write a convolution as a matrix W, so that the output is W vec(X).

    A dot is an entry that no tap makes; a 0 is a weight of zero. Lines part the
    blocks: one block is one row of the output against one row of the input.

    \b
    Examples:
      convcli matrix --input 5 -k 3
      convcli matrix --input 4x4 -k "1,2;3,4" -o W.npz
      convcli matrix --input 5 -k 3 --padding full --flip
      convcli matrix --input 3 -k 3 --transpose
      convcli matrix --input 4x4 -k 3x3 --pad-mode circular
    """
    if request.size is None and request.verify is None:
        raise UsageError("--input says how large the input is, such as --input 4x4 (or give --verify FILE)")
    from convcli.cli.matrix.text import show
    from convcli.cli.matrix.work import make

    made = make(request)
    show(made, json=request.json, quiet=request.messages.quiet)
    if made.verdict is not None and not made.verdict.equal:
        difference = made.verdict.difference
        raise ConvError(f"the matrix and the convolution differ by {difference:.3g}: please report it")
