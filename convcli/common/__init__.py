"""What everybody needs; the words that most modules use stand here under one name."""

from convcli.common.axes import parse_numbers, per_axis
from convcli.common.choices import Channels, EngineName, Frames, Nan, Precision, Reading, parse_choice
from convcli.common.errors import ConvError, UsageError, about, printable, unreadable, within
from convcli.common.frozen import frozen, frozen_identity
from convcli.common.numbers import counted, in_range, number_text, parse_float, parse_number, quoted, to_float
