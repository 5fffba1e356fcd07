"""Fields of JSON by the keys that lead to them: read at once by one msgspec type, or one by one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from operator import attrgetter
from typing import Any

import msgspec

from stream.calls.dialects import fields
from stream.calls.dialects.dialect import REQUIRED, Value

Path = tuple[str, ...]
Members = Mapping[str, msgspec.Raw]
_TYPES: Mapping[str, Any] = {"call_id": str, "caller": str | None, "callee": str | None}


def raw_at(record: Members, path: Sequence[str]) -> msgspec.Raw | None:
    """What stands at `path`, not read yet; None: nothing does."""
    *parents, last = path
    for step in parents:
        record = fields.members(record[step]) if step in record else {}
    return record.get(last)


def value_at(record: Members, path: Sequence[str], unreadable: Any = None) -> Any:
    """What stands at `path`; None also where nothing does, `unreadable` for what cannot be kept."""
    raw = raw_at(record, path)
    return None if raw is None else fields.read(raw, unreadable)


def keys_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """Every key on the ways to `paths`; one that several share counts once."""
    ways = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    return tuple(sorted(way[-1] for way in ways))


def written(path: Path) -> str:
    r"""A path as configuration and messages write it: `params.callid`; a dot in a key is `\.`."""
    return ".".join(step.replace(".", "\\.") for step in path)


class Reader:
    """Reads fields of a call by their paths, through one msgspec type that is nested as they are.

    Those of `REQUIRED` must be there, and text. Attributes of that type are numbered (`a0`,
    `a1`...): a JSON key need not be an identifier.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._keys = tuple(paths)
        self._numbers = count()
        self._attribute_of: dict[Path, str] = {}
        root: dict[str, Any] = {}
        for key, path in paths.items():
            node = root
            *parents, last = path
            for step in parents:
                node = node.setdefault(step, {})
            node[last] = key
        self._decode = msgspec.json.Decoder(self._struct(root, ())).decode
        self._values_of = attrgetter(*(self._dotted(path) for path in paths.values()))

    def read(self, value: Value) -> dict[str, Any]:
        """The fields by name; raises what msgspec raises."""
        return dict(zip(self._keys, self._values_of(self._decode(value)), strict=True))

    def _dotted(self, path: Path) -> str:
        return ".".join(self._attribute_of[path[: depth + 1]] for depth in range(len(path)))

    def _struct(self, node: Mapping[str, Any], above: Path) -> type[msgspec.Struct]:
        """The struct of one object: `node` maps its keys to fields of a call or nested objects."""
        members: list[tuple[str, Any, Any]] = []
        rename = {}
        for step, below in node.items():
            attribute = f"a{next(self._numbers)}"
            self._attribute_of[(*above, step)] = attribute
            rename[attribute] = step
            if not isinstance(below, str):
                nested = self._struct(below, (*above, step))
                absent = (
                    msgspec.field() if _required(below) else msgspec.field(default_factory=nested)
                )
                members.append((attribute, nested, absent))
            elif below in REQUIRED:
                members.append((attribute, _TYPES[below], msgspec.field()))
            else:
                members.append((attribute, Any, msgspec.field(default=None)))
        return msgspec.defstruct("Record", members, rename=rename, gc=False, kw_only=True)


def _required(node: Mapping[str, Any]) -> bool:
    return any(
        below in REQUIRED if isinstance(below, str) else _required(below) for below in node.values()
    )
