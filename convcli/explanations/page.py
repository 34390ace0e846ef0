"""The sliding window as one HTML page to learn with: offline, its numbers and settings are changed in the browser.

The page itself, with its arithmetic in JavaScript, is `page.html`; here a convolution becomes the data that it opens
with, beside the results that convcli computes, to which the page compares its own.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convcli.common import UsageError
from convcli.explanations.film import check_film
from convcli.geometry.windows import TransposedWindow
from convcli.jobs.chain import ConvStage, Stage

SUFFIXES = (".html", ".htm")


def page(stage: Stage, data: np.ndarray, results: np.ndarray, which: int = 0, rate: float = 2.0) -> str:
    """Return the page's text.

    Parameters
    ----------
    data : ndarray
        The stage's input, one channel of it: its space axes only, one or two of them.
    results : ndarray
        What ``filter`` computes of it, for this map.
    which : int
        Which kernel of a bank.
    rate : float
        Steps a second with which it plays.

    Raises
    ------
    UsageError
        For a pool, more than two axes, missing samples, and where a film would have too many frames or cells.
    """
    if data.ndim > results.ndim:
        raise UsageError("a page shows one channel: name a .gif or .mp4 file to see their sum")
    check_film(stage, data.shape, results.shape)
    if not isinstance(stage, ConvStage):
        raise UsageError("a page shows a convolution: name a .gif or .mp4 file to see a pool move")
    if data.ndim > 2:
        raise UsageError("a page shows signals and images: name a .gif or .mp4 file to see a volume")
    if not np.isfinite(data).all():
        raise UsageError("a page shows numbers, and some are missing or infinite: name a .gif or .mp4 file")
    weights = stage.kernel.array().reshape(stage.weight_shape)[which, 0]
    axes = [
        {
            "stride": window.stride,
            "dilation": window.dilation,
            "before": window.before,
            "after": window.after,
            "outputPadding": window.output_padding if isinstance(window, TransposedWindow) else 0,
        }
        for window in stage.windows
    ]
    job = {
        "input": _array(data),
        "kernel": _array(weights),
        "axes": axes,
        "transposed": stage.transposed,
        "mode": stage.mode,
        "value": stage.value,
        "bias": stage.kernel.bias[which],
    }
    given = {"title": stage.kernel.title, "job": job, "results": _array(results), "rate": rate}
    # No name ends the element that holds it
    text = json.dumps(given, allow_nan=False).replace("<", "\\u003c")
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8").replace("GIVEN", text, 1)


def _array(values: np.ndarray) -> dict[str, Sequence[float]]:
    return {"shape": values.shape, "values": values.ravel().tolist()}
