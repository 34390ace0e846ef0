"""Parts of arrays that lie in a file in C order."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from convcli.common import ConvError
from convcli.media import region


class Cut(io.FileIO):
    """A file that loses its end while it is read, of which the system gives all that was asked for."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = super().readinto(buffer)
        os.truncate(self.fileno(), 10)
        return count or 0


@pytest.mark.parametrize("opened", [io.FileIO, Cut])
def test_a_file_that_is_cut_while_it_is_read_is_told(opened: type[io.FileIO], tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(200)))
    found = np.empty(200, np.uint8)
    with opened(path, "r+") as fp:
        if opened is Cut:
            with pytest.raises(ConvError, match="has become shorter while it was read"):
                region.fill(fp, found)
        else:
            region.fill(fp, found)
            assert found.tolist() == list(range(200))
