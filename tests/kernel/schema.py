"""The choices in the schema of kernel files, from the classes that read them.

``python -m tests.kernel.schema`` writes them into ``kernels/kernel.schema.json``; its descriptions are written by hand.
"""

import copy
import json
import re
from typing import Any

from convcli.geometry.padding import PaddingName, PadMode
from convcli.geometry.pools import POOLS
from convcli.kernel import library
from convcli.kernel.model import Combine
from convcli.kernel.parametric import FORMULAS
from convcli.pixels.ranges import FORMS, POLICIES, Range, Window

PATH = library.library_dir() / library.SCHEMA
_DECIMAL = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_NUMBER = f"{_DECIMAL}(/{_DECIMAL})?"


def _one_of(names: Any) -> str:
    return "|".join(map(str, names))


def _display(policy: type[Range]) -> str:
    """Return the pattern of a range policy: that of its form, with numbers in the place of names."""
    optional = re.sub(r"\[(.*)\]", r"(\1)?", policy.form)
    return re.sub("LO|HI|GAIN", lambda _: _NUMBER + "%?" * (policy is Window), optional)


def with_choices(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with the choices of today."""
    new = copy.deepcopy(schema)
    keys = new["properties"]
    keys["combine"]["enum"] = [*Combine]
    keys["pad_mode"]["enum"] = [*PadMode]
    keys["pool"]["pattern"] = f"^(({_one_of(POOLS)}):.+|global-({_one_of(POOLS)}))$"
    keys["parametric"]["pattern"] = f"^({_one_of(FORMULAS)})(:.+)?$"
    keys["range"]["pattern"] = f"^({_one_of(map(_display, POLICIES))})$"
    keys["range"]["description"] = (
        f"How results become a picture: {FORMS}. offset: zero is mid grey; LO:HI: a window, in percent of white with %."
    )
    amount = rf"({_one_of(PaddingName)}|[0-9]{{1,9}}(:[0-9]{{1,9}})?)"
    _, text, several = keys["padding"]["anyOf"]
    text["pattern"] = rf"^{amount}(\s*[,x]\s*{amount}){{0,2}}$"
    several["items"]["anyOf"][1]["pattern"] = f"^{amount}$"
    return new


if __name__ == "__main__":
    found = json.loads(PATH.read_text(encoding="utf-8"))
    PATH.write_text(json.dumps(with_choices(found), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
