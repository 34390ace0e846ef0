"""The orientation in EXIF data: read, applied, taken out.

Nothing else of EXIF is understood here: it travels as bytes.
"""

import struct

import numpy as np

from convcli.media.shared import Density

# Orientation -> (swap rows and columns, then mirror Y, then mirror X); EXIF 2.32, tag 0x0112.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def turn(pixels: np.ndarray, dpi: Density | None, orientation: int) -> tuple[np.ndarray, Density | None]:
    """Return pixels, shape ``(Y, X)`` or ``(Y, X, C)``, as they are to be seen, with x and y of dpi swapped too."""
    swap, mirror_y, mirror_x = _TURNS.get(orientation, (False, False, False))
    if swap:
        pixels = pixels.swapaxes(0, 1)
        dpi = dpi and dpi[::-1]
    if mirror_y:
        pixels = pixels[::-1]
    if mirror_x:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels), dpi


def take_orientation(exif: bytes) -> tuple[int, bytes | None]:
    """Return the orientation (1 to 8) and the EXIF data without it, every other byte in its place.

    Re-encoding would lose what it does not understand: thumbnails, makers' notes with offsets of their own.

    Parameters
    ----------
    exif
        A TIFF stream, without the ``Exif\\0\\0`` of JPEG before it.

    Returns
    -------
    orientation, rest
        ``rest`` is ``None`` when nothing else was in it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1, exif
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        end = first + 2 + 12 * count + 4  # entries, then the offset of the next directory
        for entry in range(first + 2, end - 4, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == 0x0112:
                (value,) = struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), exif, entry + 8)
                rest = exif[:first] + struct.pack(f"{order}H", count - 1) + exif[first + 2 : entry]
                rest += exif[entry + 12 : end] + bytes(12) + exif[end:]
                return (value if value in _TURNS else 1), (rest if count > 1 else None)
    except struct.error:  # cut off: no orientation can be read
        pass
    return 1, exif
