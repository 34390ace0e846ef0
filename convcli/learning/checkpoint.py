"""A training's state as a safetensors file, from which it can go on.

The parameters stand under their own names, so that a checkpoint serves as weights too; the optimizer's memory is
under ``optimizer/``, the best parameters under ``best/``, numbers and settings in the metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from convcli.common import ConvError, about, unreadable
from convcli.learning.training import Epoch, Settings, State
from convcli.networks.weights import check_weights, save

SUFFIX = ".safetensors"
_KEY = "training"  # of the metadata
_MOMENTS, _BEST = "optimizer/", "best/"


def write(file: IO[bytes], state: State, settings: Settings) -> None:
    """Write a state, and the settings that led to it."""
    facts = {
        "steps": state.steps,
        "curve": [[epoch.number, epoch.loss, epoch.watched] for epoch in state.curve],
        "settings": asdict(settings),
    }
    arrays = dict(state.parameters)
    arrays |= {_MOMENTS + name: array for name, array in state.moments.items()}
    arrays |= {_BEST + name: array for name, array in state.best.items()}
    save(file, arrays, {_KEY: json.dumps(facts)})


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """Return the state in a file, and the settings that led to it.

    Raises
    ------
    ConvError
        When the file is missing, damaged, or no checkpoint.
    """
    from convcli.data.array_files import open_arrays

    with about(f"checkpoint {str(path)!r}"):
        try:
            file = open_arrays(path)
            facts = json.loads(file.facts.get(_KEY, "null"))
            if facts is None:
                raise ConvError(f"no checkpoint: it has weights alone (--weights {path} starts from them)")
            arrays = {name: file.read(name, check_weights) for name in file.names}
            return _state(arrays, facts), dict(facts["settings"])
        except OSError as error:
            raise ConvError(unreadable(error)) from None
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ConvError(f"no checkpoint, or a damaged one ({error})") from None


def _state(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> State:
    def under(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    own = {name: array for name, array in arrays.items() if not name.startswith((_MOMENTS, _BEST))}
    curve = tuple(
        Epoch(int(number), float(loss), None if watched is None else float(watched))
        for number, loss, watched in facts["curve"]
    )
    if min((epoch.number for epoch in curve), default=-1) < 0:
        raise ValueError("no epochs")
    return State(own, under(_MOMENTS), int(facts["steps"]), curve, under(_BEST))


def changed(settings: Settings, before: Mapping[str, Any]) -> list[str]:
    """Return what is no longer as it was, in words; how long to train is free to change."""
    return [
        f"{field.name} was {before[field.name]} and is {getattr(settings, field.name)}"
        for field in fields(settings)
        if field.name in before
        and field.name not in ("epochs", "patience")
        and before[field.name] != getattr(settings, field.name)
    ]
