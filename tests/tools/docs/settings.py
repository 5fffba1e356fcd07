"""The reference of the files that configure Ringfence: settings, feed files, agreement files.

Types and limits come from the dataclasses that read the files, meanings from the comments of the
files that operators copy: config/default.toml and the examples beside it.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from stream.config.bundled_files import location
from stream.config.environment import NO_TABLES
from stream.config.json_schema import meanings
from stream.config.settings import HTTP_TOKENS, SECRETS, Settings
from stream.ops.schema.toml import Between
from tests.tools.docs.markdown import code, escaped, page, table

ROOT = Path(__file__).parents[3]
_NAMES = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}


def kind_of(annotation: Any) -> str:
    """Return the allowed values as Markdown: a type, its limits, or the words to choose from."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [one for one in inner[1:] if isinstance(one, Between)]
        text = kind_of(inner[0])
        return text + "".join(f", {_short(one.least)} to {_short(one.most)}" for one in limits)
    if origin is Literal:
        return " or ".join(code(str(one)) for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(kind_of(one) for one in inner if one is not NoneType)
    if origin in (tuple, list):
        return f"list of {kind_of(inner[0])}"
    if origin is dict:
        return f"table by name of {kind_of(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(code(_word(one)) for one in annotation)
    if is_dataclass(annotation):
        return "table"
    return _NAMES.get(annotation, "value")


def _word(one: Enum) -> str:
    return one.value if isinstance(one.value, str) else one.name.lower()


def _short(number: float) -> str:
    return f"{number:,.10g}"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        return code(f'"{_word(value)}"')
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, str):
        return code(f'"{value}"')
    if isinstance(value, dict):
        return ""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return code("[" + ", ".join(f'"{one}"' for one in value) + "]")
    return code(str(value))


def tables(shape: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each table of a settings dataclass with what shapes it, the outer ones first.

    What stands under names that the operator gives is the table `<name>`.
    """
    hints = get_type_hints(shape, include_extras=True)
    yield above, shape
    for one in fields(shape):
        kind = hints[one.name]
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        if is_dataclass(kind) and one.name not in NO_TABLES:
            yield from tables(kind, (*above, one.name))
        elif get_origin(kind) is dict and is_dataclass(get_args(kind)[1]):
            yield from tables(get_args(kind)[1], (*above, one.name, "<name>"))


def rows(
    shape: Any, said: dict[str, str], above: tuple[str, ...], defaults: Any
) -> Iterator[tuple[str, str, str, str]]:
    """A row for each key of one table: name, value, default, meaning."""
    hints = get_type_hints(shape, include_extras=True)
    for one in fields(shape):
        kind = hints[one.name]
        text = kind_of(kind)
        if text == "table" or text.startswith("table by name of table"):
            continue  # it has a section of its own
        if get_origin(kind) is dict and above[:1] not in (("feed",), ("agreement",)):
            continue
        given = (defaults or {}).get(one.name, MISSING)
        if given is MISSING:
            given = one.default_factory() if callable(one.default_factory) else one.default
        shown = "" if given is MISSING else _value(given)
        meaning = said.get(".".join((*above, one.name)), "")
        yield code(one.name), text, shown, escaped(meaning)


def anchor(table_name: str) -> str:
    """The target of a table's section."""
    return "settings-" + re.sub(r"[^a-z]+", "-", table_name.lower()).strip("-")


def known() -> dict[str, str]:
    """The meanings of keys that no configuration file explains, from `meanings.toml`."""
    text = (Path(__file__).parent / "meanings.toml").read_text()
    return {
        f"{section}.{key}": meaning
        for section, keys in tomllib.loads(text).items()
        for key, meaning in keys.items()
    }


def settings_page() -> str:
    """Every setting of `--config`."""
    text = location("settings").read_text()
    said, values = known() | meanings(text), tomllib.loads(text)
    parts = [
        [
            "Every setting with its default, from `config/default.toml` and the code that reads",
            "it. Put your changes into your own file and pass it with `--config`, or set",
            "[variables](#settings-variables). `ringfence config schema` writes a JSON Schema.",
            "An unknown key is an error that names the closest known one.",
            "",
        ]
    ]
    for above, shape in tables(Settings):
        if above == ("policy", "lists", "<name>"):
            parts.append(_section(above, shape, _as_default(said), _at(values, above[:1])))
        elif above:
            parts.append(_section(above, shape, said, _at(values, above)))
    parts.append(_by_name(values, said))
    parts.append(_variables())
    parts.append(_secrets())
    return page("Settings", *parts)


def _as_default(said: dict[str, str]) -> dict[str, str]:
    """A list's own policy means what `[policy.default]` means."""
    default = "policy.default."
    return said | {
        key.replace(default, "policy.lists.<name>."): text
        for key, text in said.items()
        if key.startswith(default)
    }


def _section(above: tuple[str, ...], shape: Any, said: dict[str, str], defaults: Any) -> list[str]:
    name = ".".join(above)
    lines = [f"({anchor(name)})=", f"## [{name}]", ""]
    about = said.get(f"{name}.about") or said.get(f"[{name}]")
    lines += [escaped(about[0].upper() + about[1:]), ""] if about else []
    found = list(rows(shape, said, above, defaults))
    if not found:
        return lines
    return lines + table(("key", "value", "default", "meaning"), found)


def _at(values: Any, above: Iterable[str]) -> Any:
    for name in above:
        values = values.get(name, {}) if isinstance(values, dict) else {}
    return values


def _by_name(values: dict[str, Any], said: dict[str, str]) -> list[str]:
    """Tables of plain values under names that are not the code's: countries, topics, numbers."""
    lines = []
    for above, kind in _plain_tables(Settings):
        name = ".".join(above)
        about = said.get(f"{name}.about") or said.get(f"[{name}]", "")
        lines += [f"({anchor(name)})=", f"## [{name}]", "", escaped(about), ""]
        lines += [f"Each key is a name that you choose; its value is {kind}.", ""]
        found = [
            (code(key), _value(value), escaped(said.get(f"{name}.{key}", "")))
            for key, value in _at(values, above).items()
        ]
        lines += table(("key", "default", "meaning"), found) if found else []
    return lines


def _plain_tables(shape: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for where, one in tables(shape, above):
        for name, kind in get_type_hints(one, include_extras=True).items():
            if get_origin(kind) is dict and not is_dataclass(get_args(kind)[1]):
                yield (*where, name), kind_of(get_args(kind)[1])


def _variables() -> list[str]:
    return [
        "(settings-variables)=",
        "## Variables",
        "",
        "Each setting has a variable, which overrides all files: `RINGFENCE_`, the table, two",
        "underscores, the key. `RINGFENCE_SINKS__REDIS__TIMEOUT_S` is `timeout_s` of",
        "`[sinks.redis]`. Write values as in TOML, texts without quotes. A list can be written",
        "`a, b`. Names of tables can have any case",
        "(`RINGFENCE_SWITCHES__BKK__TIME_ZONE`). Or set the complete table:",
        '`RINGFENCE_CALLS__TOPICS=\'{"calls.pbx" = "asterisk-csv:bkk"}\'`.',
        "",
        "A misspelt variable is an error that names the closest one.",
        "",
    ]


def _secrets() -> list[str]:
    variables = [*SECRETS.values(), HTTP_TOKENS]
    return [
        "(settings-secrets)=",
        "## Secrets",
        "",
        "Secrets come only from the environment: a variable, or the file that `<variable>_FILE`",
        "names. `ringfence check-config` says which are set, and never prints one.",
        "",
        *(f"- {code(variable)}" for variable in variables),
        "- the variables that `key_env`, `secret_env`, `bearer_env` and similar keys name",
        "",
    ]
