"""ESRI ASCII grids for convcli, read and written, with a kernel, a parametric kernel and a pool."""

from dataclasses import replace

import numpy as np

from convcli.data.info import ArraySource, Info, Metadata, Sink
from convcli.geometry.pools import AvgPool
from convcli.kernel import Kernel
from convcli.kernel.parametric import Formula
from convcli.media.registry import Format


def source(fp, options):
    """Open a grid: lines of a name and a number, then the rows; the nodata value is missing."""
    lines = fp.read().decode().splitlines()
    fp.close()
    header = dict(line.lower().split() for line in lines[:6] if line[:1].isalpha())
    grid = np.loadtxt(lines[len(header) :], ndmin=2)
    nodata = header.get("nodata_value")
    if nodata is not None:
        grid[grid == float(nodata)] = np.nan
    return ArraySource(grid, replace(Info.of("YX", grid.shape, "float64"), metadata=Metadata(nodata=nodata)))


class GridSink(Sink):
    def __init__(self, fp, format, info, options):
        super().__init__(info)
        self.fp, self.nodata = fp, info.metadata.nodata or "-9999"
        rows, columns = info.shape
        fp.write(f"ncols {columns}\nnrows {rows}\nnodata_value {self.nodata}\n".encode())

    def put(self, box, values):
        np.savetxt(self.fp, np.where(np.isnan(values), float(self.nodata), values), fmt="%.17g")


class SumPool(AvgPool):
    name = noun = function = "sum"
    within = False

    def finish(self, values, counts):
        return values


def ramp(size):
    """weights that grow along the last axis"""
    return size, lambda: [float(i % size[-1]) for i in range(int(np.prod(size)))]


FORMAT = Format(
    *("esri-grid", (".asc", ".grd"), lambda head: head[:5].lower() == b"ncols", "esri_grid:source"),
    *("esri_grid:GridSink", "YX", ("float32", "float64")),
    numbers=True,
)
FORWARD = Kernel("forward-difference", (1, 1, 2), (-1.0, 1.0), description="the next sample minus this one")
RAMP = Formula("ramp:3", {"size": "3"}, ramp)
SUM = SumPool()
