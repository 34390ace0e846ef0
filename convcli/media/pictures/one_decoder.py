"""Pictures through imageio's plug-in for Pillow, held to the one decoder of their format.

``plugin="pillow"`` by its name would let the content choose among all of Pillow's decoders, of which one starts
Ghostscript (`tests/test_alone.py` has such a file).
"""

import re
import struct
from collections.abc import Iterable
from typing import IO, Any, BinaryIO, cast

from imageio.core.request import Request
from imageio.core.v3_plugin_api import PluginV3
from imageio.plugins.pillow import PillowPlugin
from imageio.v3 import imopen
from PIL import Image, UnidentifiedImageError

from convcli.media.carriers import is_data
from convcli.media.pictures.pillow import (
    ANIMATED,
    Carried,
    PillowPicture,
    Reads,
    carried_in,
    lost_of,
    unknown,
)
from convcli.media.shared import decoding

_PSD_RESOLUTION = 1005
_BEHIND = {"mipmaps", "frames", "extension", "channels"}  # what lies behind the picture that is read


class OneDecoder(PillowPlugin):
    """imageio's plug-in, but for how it opens a file."""

    def __init__(self, request: Request, decoder: str) -> None:
        PluginV3.__init__(self, request)
        self._image, self.images_to_write = None, []  # what closing looks at, should opening fail
        Image.MAX_IMAGE_PIXELS = None  # only the header is read here
        self._image = Image.open(request.get_file(), formats=(decoder,))
        self._image.decodermaxblock = Reads.BLOCK


class ImageioPicture(PillowPicture):
    """A picture that imageio has opened with one decoder.

    ``carries`` has what else is known to be in the file, by the keys of `convcli.media.carriers`; ``trailer`` is a
    pattern of what lies behind the picture and is no data.

    Raises
    ------
    ConvError
        When the decoder does not know the content.
    """

    def __init__(self, fp: IO[bytes], decoder: str, carries: Iterable[str], trailer: bytes) -> None:
        self._carries, self._trailer, self._fp = [*carries], trailer, Reads(fp)
        head = fp.read(16)
        fp.seek(0)
        with decoding(decoder):
            try:
                self._plugin: Any = imopen(cast(BinaryIO, self._fp), "r", plugin=OneDecoder, decoder=decoder)
            except OSError as error:  # around what the decoder raised
                cause = error.__cause__ or error
                raise (
                    unknown(head, (decoder,)) if isinstance(cause, UnidentifiedImageError) else cause
                ) from None
        super().__init__(self._plugin._image)
        self.decoder = decoder

    @property
    def lost(self) -> tuple[str, ...]:
        rest = re.sub(rb"\A" + self._trailer, b"", self._fp.rest(), count=1, flags=re.DOTALL)
        known = self.decoder in ANIMATED or _BEHIND & {*self._carries}
        return lost_of(self._image, [*self._carries, *["behind"] * (not known and is_data(rest))])

    def carried(self) -> Carried:
        for number, _, data in getattr(self._image, "resources", ()):
            if number == _PSD_RESOLUTION and len(data) > 11:  # pixels per inch, in 65536ths
                dpi = tuple(part / 65536 for part in struct.unpack_from(">i4xi", data))
                return carried_in(self._image.info | {"dpi": dpi}, 1)
        return super().carried()
