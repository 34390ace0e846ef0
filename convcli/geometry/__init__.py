"""Windows on axes, padding, and layers of them; what most modules use stands here under one name."""

from convcli.geometry.layers import Conv, Layer, Pool, Row, format_size, trace
from convcli.geometry.padding import Padding, PaddingName, PadMode, parse_pad_mode, parse_padding
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import Field, TransposedWindow, Window
