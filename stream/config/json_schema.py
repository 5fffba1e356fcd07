"""The settings as a JSON Schema (2020-12): for editors, charts, and programs that write them.

Types, limits and names are those of the dataclasses that read the files; descriptions and defaults
are those of `default.toml`.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from stream.config.bundled_files import location
from stream.config.environment import NO_TABLES
from stream.config.settings import Settings
from stream.ops.schema.toml import Between

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}
_HEAD: Final = re.compile(r"^\[([^\]]+)\](?:\s+#\s*(.*))?$")
_LINE: Final = re.compile(r"^(?:# )?([A-Za-z_][\w.]*|\"[^\"]+\") = .*?(?:\s#\s+(.*))?$")


def meanings(text: str) -> dict[str, str]:
    """Return the comments of a commented TOML file, by key with its table; `[table]` has its own.

    A key that is commented out, as examples show what may be set, counts as well.
    """
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        head = _HEAD.match(line.removeprefix("# "))
        if head:
            section = head[1]
            found.setdefault(f"[{section}]", (head[2] or "").strip())
            continue
        key = _LINE.match(line)
        if key and key[2]:
            found.setdefault(f"{section}.{key[1]}".lstrip("."), key[2].strip())
    return found


def settings_schema() -> dict[str, Any]:
    """Return the schema of a file for `--config`: each key may be left out, none may be made up."""
    text = location("settings").read_text(encoding="utf-8")
    found = _of(Settings, "", meanings(text), tomllib.loads(text))
    return {"$schema": DIALECT, "title": "Settings of Ringfence", **found}


def _of(kind: Any, name: str, said: Mapping[str, str], default: Any) -> dict[str, Any]:
    """Return the schema of a value of `kind`, which settings files call `name`."""
    about = said.get(name) or said.get(f"[{name}]", "")
    schema: dict[str, Any] = {"description": about} if about else {}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        for limit in inner[1:]:
            if isinstance(limit, Between):
                schema |= {"minimum": limit.least, "maximum": limit.most}
        return _of(inner[0], name, said, default) | schema
    if is_dataclass(kind):
        return schema | _table(kind, name, said, default)
    if origin in {dict, Mapping}:
        its_name = f"{name}.<name>" if name else "<name>"
        return schema | {
            "type": "object",
            "additionalProperties": _of(inner[1], its_name, said, None),
        }
    if default is not None:
        schema["default"] = default
    if origin is Literal:
        return schema | {"enum": list(inner)}
    if origin in {Union, UnionType}:
        return schema | {"anyOf": [_of(one, "", {}, None) for one in inner if one is not NoneType]}
    if origin in {tuple, Sequence}:
        return schema | {"type": "array", "items": _of(inner[0], "", {}, None)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return schema | {"enum": [one.name.lower() for one in kind]}
    return schema | {"type": _TYPES[kind]}


def _table(kind: Any, name: str, said: Mapping[str, str], default: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    held = default if isinstance(default, dict) else {}
    return {
        "type": "object",
        "properties": {
            one.name: _of(
                hints[one.name], f"{name}.{one.name}".lstrip("."), said, held.get(one.name)
            )
            for one in fields(kind)
            if one.name not in NO_TABLES
        },
        "additionalProperties": False,
    }
