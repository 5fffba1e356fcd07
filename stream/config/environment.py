"""Settings from the environment: `RINGFENCE_KAFKA__BOOTSTRAP_SERVERS` is `bootstrap_servers` of
`[kafka]`.

They override all files, since containers get their settings so. `__` separates table and key: keys
have single underscores. Kubernetes writes variables of its own for a Service called `ringfence`
(`RINGFENCE_PORT_9464_TCP`, `RINGFENCE_SERVICE_HOST`), which are no mistake.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin, get_type_hints

from stream.ops.schema.toml import Key, dotted, flat

PREFIX: Final = "RINGFENCE_"
BETWEEN: Final = "__"
FILE: Final = "_FILE"
"""Ends the name of a variable that names the file with a secret."""
NO_TABLES: Final = frozenset({"secrets", "asking"})
"""Fields of `Settings` that other variables and the command fill; no file has their tables."""
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
_ALIKE: Final = 0.85
"""From here on a name is a misspelling of another (difflib's ratio); unknown ones are not ours."""


class Given(NamedTuple):
    """A variable's setting: its key, and its value as TOML would have it."""

    variable: str
    key: Key
    value: Any


def settings_in(
    environ: Mapping[str, str],
    kind: type,
    values: Mapping[str, Any],
    others: frozenset[str],
    errors: list[str],
) -> Iterator[Given]:
    """Yield the settings that variables give, of the dataclass `kind`.

    `values` are the files' so far: a table that people name (`[switches.BKK]`) is found whatever
    its letters' case. `others` are variables that are no settings. A variable that looks like one
    of ours and is not becomes an error with the name that was meant.
    """
    named = {value for _, value in flat(values) if isinstance(value, str)}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        if BETWEEN in variable:
            words = variable.removeprefix(PREFIX).split(BETWEEN)
            found = _setting(words, kind, values)
            if found is None:
                meant = _meant(variable, kind, others)
                errors.append(f"environment: {variable}: is no setting{meant}")
            else:
                key, its_kind = found
                yield Given(variable, key, _value(environ[variable], its_kind))
        elif not (others | named) & {variable, variable.removesuffix(FILE)}:
            meant = _meant(variable, kind, others)
            if meant and not _OF_KUBERNETES.search(variable):
                errors.append(f"environment: {variable}: is no variable of Ringfence{meant}")


def _setting(words: list[str], kind: Any, values: Any) -> tuple[Key, Any] | None:
    """Return the key that the words name below `kind`, and its type; None: there is none."""
    key: list[str] = []
    for word in words:
        kind = _bare(kind)
        if isinstance(kind, type) and is_dataclass(kind):
            name = word.lower()
            if name not in _hints(kind):
                return None
            kind = _hints(kind)[name]
        elif get_origin(kind) in {dict, Mapping} and word:
            held = values if isinstance(values, dict) else {}
            name = next((one for one in held if one.lower() == word.lower()), word.lower())
            kind = get_args(kind)[1]
        else:
            return None
        values = values.get(name) if isinstance(values, dict) else None
        key.append(name)
    return tuple(key), _bare(kind)


def _value(text: str, kind: Any) -> Any:
    """Return the value as TOML would have it; the binder says what is wrong with it.

    A text needs no quotes, and a list of texts may be written `a, b`.
    """
    if kind is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        is_list = get_origin(kind) in {tuple, Sequence} and not text.startswith("[")
        return [part.strip() for part in text.split(",") if part.strip()] if is_list else text


def _meant(variable: str, kind: type, others: frozenset[str]) -> str:
    """Return what was probably meant, as the end of a sentence; "": nothing of ours is alike."""
    ours = {name.replace(BETWEEN, "_"): name for name in (*_variables(kind), *sorted(others))}
    near = get_close_matches(variable.replace(BETWEEN, "_"), list(ours), 1, _ALIKE)
    return f"; did you mean {ours[near[0]]}?" if near else ""


@cache
def _variables(kind: Any, at: str = PREFIX) -> tuple[str, ...]:
    """Return the variables of all settings whose names we give."""
    found: list[str] = []
    for name, its_kind in _hints(kind).items():
        bare, variable = _bare(its_kind), f"{at}{name.upper()}"
        is_table = isinstance(bare, type) and is_dataclass(bare)
        found += _variables(bare, f"{variable}{BETWEEN}") if is_table else [variable]
    return tuple(found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    known = get_type_hints(kind, include_extras=True)
    return {field.name: known[field.name] for field in fields(kind) if field.name not in NO_TABLES}


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


_NAMED: Final = re.compile(r"\$(\$?)\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}")


def filled(
    environ: Mapping[str, str], values: Mapping[str, Any], errors: list[str], at: Key = ()
) -> dict[str, Any]:
    """Return a file's values with `${VARIABLE}` in their texts replaced from the environment.

    `${VARIABLE:-text}` has a default, `$${VARIABLE}` is the text itself. A variable that is not set
    is an error: half an address would connect to another server.
    """

    def of(value: Any, key: Key) -> Any:
        if isinstance(value, Mapping):
            return filled(environ, value, errors, key)
        if isinstance(value, list):
            return [of(one, (*key, str(place))) for place, one in enumerate(value)]
        return _NAMED.sub(lambda found: put(found, key), value) if isinstance(value, str) else value

    def put(found: "re.Match[str]", key: Key) -> str:
        escaped, name, default = found.groups()
        if escaped:
            return found[0][1:]
        if name not in environ and default is None:
            errors.append(
                f"{dotted(key)}: ${{{name}}} is not set in the environment; set it, give a default "
                f"(${{{name}:-text}}), or write $${{{name}}} for the text itself"
            )
        return environ.get(name, default or "")

    return {name: of(value, (*at, name)) for name, value in values.items()}
