"""``convcli filter``: the command line of the main job.

The work is in `convcli.cli.filter.inputs`, which loads only once the command line makes sense.
"""

from convcli.cli.filter.request import Request
from convcli.cli.shared.command import takes_options
from convcli.common import UsageError


def _check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if not request.kernels and request.settings.pool is None:
        raise UsageError("nothing to do: give a kernel (-k NAME, see `convcli kernels list`) or --pool")
    if request.output is not None and request.out_dir is not None:
        raise UsageError("--output and --out-dir: give one of them")
    if len(request.inputs) > 1 and request.output is not None:
        raise UsageError(f"{len(request.inputs)} inputs and one output: give --out-dir DIR instead of -o")
    if len(request.inputs) > 1 and request.out_dir is None:
        raise UsageError(f"{len(request.inputs)} inputs need --out-dir DIR for their outputs")


@takes_options
def filter_files(request: Request) -> None:
    """Filter images, clips, signals and arrays with kernels.

    \b
    Examples:
      convcli filter photo.png -k hedge
      convcli filter photo.jpg -k gaussian:sigma=2 -k sobel -o edges.png
      convcli filter signal.csv -k smooth3 --columns 2-4
      convcli filter *.png -k "1/9,1/9,1/9;1/9,1/9,1/9;1/9,1/9,1/9" --out-dir out
      convcli filter photo.png --pool max:2
      convcli filter clip.mp4 -k box:3 -o soft.mp4
      convcli filter frames/%04d.png -k temporal-mean:3 -o out/%04d.png
      cat a.png | convcli filter - -k sharpen > b.png
    """
    _check(request)
    from convcli.cli.filter.inputs import filter_all

    filter_all(request)
