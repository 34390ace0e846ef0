"""Keys and values in the schemas of Arrow, which polars neither reads nor writes: flatbuffers of files and Parquet.

In a flatbuffer a table's field lies where its entry in a list of offsets says, and refers to what lies behind it.
"""

from base64 import b64decode, b64encode
from struct import pack, pack_into, unpack_from

from convcli.common import frozen

_MESSAGE = b"\xff\xff\xff\xff"
_END = 10  # behind an Arrow file's footer: its length, and the signature
_OWN = ("_PL", "ARROW:", "PARQUET:")  # what columns are made of


@frozen
class Schema:
    """A flatbuffer whose root has a schema as one of its fields.

    Attributes
    ----------
    data : bytes
    field : int
        The root's field that is the schema.
    others : tuple of int
        Fields of the root that refer to something, too.
    """

    data: bytes
    field: int
    others: tuple[int, ...]

    @classmethod
    def of_file(cls, data: bytes) -> "Schema":
        """Return the schema of an Arrow file, which is in its footer."""
        return cls(data[-_END - unpack_from("<i", data, len(data) - _END)[0] : -_END], 1, (2, 3, 4))

    @classmethod
    def of_parquet(cls, text: str) -> "Schema":
        """Return the schema that Parquet's key ``ARROW:schema`` holds."""
        return cls(b64decode(text)[8:], 2, (4,))

    @property
    def _root(self) -> int:
        return int(unpack_from("<I", self.data)[0])

    def pairs(self) -> dict[str, str]:
        """Return its keys and values."""
        return self._pairs(self._at(self._root, self.field), 2)

    def columns(self) -> list[str]:
        """Return the names of the columns that have keys and values of their own."""
        fields = self._vector(self._at(self._root, self.field), 1)
        return [
            self._string(self._at(field, 0))
            for field in fields
            if not all(key.startswith(_OWN) for key in self._pairs(field, 6))
        ]

    def in_file(self, data: bytes, pairs: dict[str, str]) -> bytes:
        """Return the Arrow file that this is the schema of, with keys and values."""
        footer = self._with(pairs)
        return data[: -_END - len(self.data)] + footer + pack("<i", len(footer)) + data[4 - _END :]

    def in_parquet(self, pairs: dict[str, str]) -> str:
        """Return the text for ``ARROW:schema``, with keys and values."""
        data = self._with(pairs)
        return b64encode(_MESSAGE + pack("<i", len(data)) + data).decode()

    def _at(self, table: int, field: int) -> int:
        """Return where something lies that a table's field refers to, 0 for none."""
        offsets = table - unpack_from("<i", self.data, table)[0]
        entry = 4 + 2 * field
        there = entry < unpack_from("<H", self.data, offsets)[0]
        step: int = unpack_from("<H", self.data, offsets + entry)[0] if there else 0
        return self._referred(table + step) if step else 0

    def _referred(self, place: int) -> int:
        return place + int(unpack_from("<I", self.data, place)[0])

    def _vector(self, table: int, field: int) -> list[int]:
        start = self._at(table, field)
        count = unpack_from("<I", self.data, start)[0] if start else 0
        return [self._referred(start + 4 + 4 * number) for number in range(count)]

    def _string(self, start: int) -> str:
        size = unpack_from("<I", self.data, start)[0] if start else 0
        return self.data[start + 4 : start + 4 + size].decode() if size else ""

    def _pairs(self, table: int, field: int) -> dict[str, str]:
        pairs = self._vector(table, field)
        return {self._string(self._at(pair, 0)): self._string(self._at(pair, 1)) for pair in pairs}

    def _with(self, pairs: dict[str, str]) -> bytes:
        """Return the flatbuffer with keys and values: the tables on the way to them once more, in front of all."""
        keys = _padded(_vector_of(pairs))
        schema, place = self._table(self._at(self._root, self.field), (1, 3), 2, -len(keys), -len(keys))
        root, first = self._table(self._root, self.others, self.field, place, -len(keys) - len(schema))
        size = 8 + len(root) + len(schema) + len(keys)
        return pack("<II", first + size, 0) + root + schema + keys + self.data

    def _table(
        self, table: int, others: tuple[int, ...], field: int, target: int, end: int
    ) -> tuple[bytes, int]:
        """Return a table that ends at a place before the data, and where it lies; one field refers to a target."""
        offsets = table - unpack_from("<i", self.data, table)[0]
        length, size = unpack_from("<HH", self.data, offsets)
        entries = list(unpack_from(f"<{length // 2 - 2}H", self.data, offsets + 4))
        values = bytearray(_padded(self.data[table : table + size]))
        entries += [0] * (field + 1 - len(entries))
        if not entries[field]:
            entries[field] = len(values)
            values += bytes(8)
        head = _padded(pack(f"<{len(entries) + 2}H", 4 + 2 * len(entries), len(values), *entries))
        place = end - len(values)
        pack_into("<i", values, 0, len(head))
        for other in others:
            if other < len(entries) and (step := entries[other]):
                pack_into("<I", values, step, self._referred(table + step) - place - step)
        pack_into("<I", values, entries[field], target - place - entries[field])
        return head + bytes(values), place


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _vector_of(pairs: dict[str, str]) -> bytes:
    """Return a vector of tables with two fields, each before its own texts."""
    made, offsets = b"", b""
    for number, (key, value) in enumerate(pairs.items()):
        first, second = (
            pack("<I", len(text)) + text + bytes(4 - len(text) % 4) for text in (key.encode(), value.encode())
        )
        offsets += pack("<I", 4 * (len(pairs) - number) + len(made) + 8)
        made += pack("<4HiII", 8, 12, 4, 8, 8, 8, 4 + len(first)) + first + second
    return pack("<I", len(pairs)) + offsets + made
