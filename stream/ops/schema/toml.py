"""TOML tables into frozen dataclasses: strictly, and with every error at once.

Nothing here knows a setting. A value's type must be exactly the declared one: "5" is no 5, true is
no 1. An unknown key is an error that names the closest known one. Each error starts with the file
of the value.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import cattrs
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    is_mapping,
    is_sequence,
    list_structure_factory,
    mapping_structure_factory,
)
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn

Key = tuple[str, ...]
Hook = Callable[[Any, Any], Any]
Fill = Callable[[Mapping[str, Any], list[str]], dict[str, Any]]
"""Completes a file's values; what it cannot is written into the list."""
T = TypeVar("T")


class Problem(NamedTuple):
    """One thing wrong: where (`key`, from the top), and what, with what is allowed."""

    key: Key
    text: str


class Problems(ValueError):
    """Raised by a section's `__post_init__`: everything wrong in it; keys start at the section."""

    def __init__(self, found: list[Problem]) -> None:
        super().__init__("; ".join(f"{'.'.join(key)}: {text}" for key, text in found))
        self.found = found


@dataclass(frozen=True, slots=True)
class Between:
    """`Annotated[int, Between(1, 10)]`: a number from `least` to `most`, both allowed."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Checked:
    """`Annotated[str, Checked(check)]`: `check` returns what is wrong with the value, or None."""

    check: Callable[[str], str | None]


class Tables:
    """TOML files laid over each other, remembering which file each value came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.errors: list[str] = []
        self._origins: dict[Key, str] = {}

    def lay(
        self, path: Path, fill: Fill | None = None, replaced_whole: frozenset[Key] = frozenset()
    ) -> None:
        """Put one file's values over those so far, each as `fill` makes it.

        Tables are merged key by key, but a table in `replaced_whole` takes the place of the one
        before. A file that cannot be read or is no TOML becomes an error.
        """
        try:
            # Windows' editors put a byte order mark before the text.
            read = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            self.errors.append(f"{path}: cannot be read: {error.strerror}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.errors.append(f"{path}: is no TOML: {error}")
        else:
            wrong: list[str] = []
            values = read if fill is None else fill(read, wrong)
            self.errors += [f"{path}: {text}" for text in wrong]
            self._merge(self.values, values, (), str(path), replaced_whole)

    def put(
        self, key: Key, value: Any, origin: str, replaced_whole: frozenset[Key] = frozenset()
    ) -> None:
        """Put one value that comes from no file over those so far."""
        for name in reversed(key):
            value = {name: value}
        self._merge(self.values, value, (), origin, replaced_whole)

    def _merge(
        self,
        below: dict[str, Any],
        above: Mapping[str, Any],
        at: Key,
        path: str,
        replaced_whole: frozenset[Key],
    ) -> None:
        for name, value in above.items():
            key = (*at, name)
            self._origins[key] = path
            old = below.get(name)
            if isinstance(value, dict) and isinstance(old, dict) and key not in replaced_whole:
                self._merge(old, value, key, path, replaced_whole)
            elif isinstance(value, dict):
                below[name] = {}
                self._merge(below[name], value, key, path, replaced_whole)
            else:
                below[name] = value

    def place(self, key: Key) -> str:
        """`file: key`, the file being that of the value or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            origin = self._origins.get(key[:length])
            if origin is not None:
                return f"{origin}: {dotted(key)}"
        return dotted(key)


def dotted(key: Key) -> str:
    """Return a key as TOML writes it, `policy.lists."KH/scam".action`."""
    return ".".join(part if _is_bare(part) else f'"{part}"' for part in key)


def _is_bare(part: str) -> bool:
    return bool(part) and part.isascii() and part.replace("-", "").replace("_", "").isalnum()


def strict_converter() -> cattrs.Converter:
    """Return a new converter whose structuring takes nothing but what the annotations say.

    It writes code for each kind when it first meets it, 60 ms of CPU for all settings: keep it.
    """
    # Detailed: all errors are reported at once, each with its key. cattrs' own hooks would convert
    # ("5" to 5, 1 to true); a person who wrote that meant something else.
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, name in ((str, "text"), (bool, "true or false"), (int, "a whole number")):
        converter.register_structure_hook(kind, _scalar(kind, name))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(lambda kind: _is_made_with(Literal, kind), _literal)
    converter.register_structure_hook_func(
        lambda kind: _is_made_with(Annotated, kind), _annotated(converter)
    )
    converter.register_structure_hook_factory(
        is_dataclass,
        lambda kind: _shaped(
            dict, "a table", make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
        ),
    )
    converter.register_structure_hook_factory(is_sequence, _list_hook)
    converter.register_structure_hook_factory(lambda kind: _is_made_with(tuple, kind), _tuple_hook)
    converter.register_structure_hook_factory(is_mapping, _mapping_hook)
    return converter


@cache
def plain_converter() -> cattrs.Converter:
    """Return the strict converter of those that add no hook of their own."""
    return strict_converter()


def _is_made_with(form: object, kind: object) -> bool:
    return get_origin(kind) is form


def _scalar(kind: type, name: str) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"must be {name}, not {shown(value)}")
        return value

    return structure


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):  # not isinstance: true is an int in Python
        raise ValueError(f"must be a number, not {shown(value)}")
    return float(value)


def _literal(value: Any, kind: Any) -> Any:
    allowed = get_args(kind)
    if type(value) is not str or value not in allowed:
        raise ValueError(f"must be {one_of(allowed)}, not {shown(value)}")
    return value


def _annotated(converter: cattrs.Converter) -> Hook:
    def structure(value: Any, kind: Any) -> Any:
        base, *limits = get_args(kind)
        result = converter.structure(value, base)
        for limit in limits:
            wrong = None
            if isinstance(limit, Between) and not limit.least <= result <= limit.most:
                wrong = f"must be {limit.least:g} to {limit.most:g}, not {result}"
            elif isinstance(limit, Checked):
                wrong = limit.check(result)
            if wrong is not None:
                raise ValueError(wrong)
        return result

    return structure


def _shaped(shape: type, name: str, structure: Hook) -> Hook:
    """`structure`, but only for values of `shape`: a text is no list of its letters."""

    def checked(value: Any, kind: Any) -> Any:
        if not isinstance(value, shape):
            raise TypeError(f"must be {name}, not {shown(value)}")
        return structure(value, kind)

    return checked


def _list_hook(kind: Any, within: cattrs.Converter) -> Hook:
    return _shaped(list, "a list", list_structure_factory(kind, within))


def _tuple_hook(kind: Any, within: cattrs.Converter) -> Hook:
    return _shaped(list, "a list", homogenous_tuple_structure_factory(kind, within))


def _mapping_hook(kind: Any, within: cattrs.Converter) -> Hook:
    return _shaped(dict, "a table", mapping_structure_factory(kind, within))


def one_of(allowed: tuple[object, ...]) -> str:
    """Allowed values for a message: `a, b or c`."""
    texts = [f'"{value}"' for value in allowed]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def shown(value: object) -> str:
    """Return a wrong value for a message, in TOML's words and never long."""
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    text = text or (f'"{value}"' if isinstance(value, str) else f"{value!r}")
    return text if len(text) <= 60 else f"{text[:57]}..."


def structured(
    converter: cattrs.Converter,
    values: Mapping[str, Any],
    kind: type[T],
    defaults: Mapping[Key, Any],
) -> tuple[T | None, list[Problem]]:
    """`values` as a `kind`, or None and every problem.

    A section as a whole can only be checked once its values are sound. So for these checks defaults
    replace wrong values, and unknown keys are left out.
    """
    found: list[Problem] = []
    sound = deepcopy(dict(values))
    while True:
        try:
            result = converter.structure(sound, kind)
        except BaseValidationError as error:
            known = {one.key for one in found}
            fresh = [one for one in problems_of(error, defaults) if one.key not in known]
            found += fresh
            repaired = [_repaired(sound, one.key, defaults) for one in fresh]
            if not any(repaired):
                return None, found
        else:
            return (None if found else result), found


def _repaired(values: dict[str, Any], key: Key, defaults: Mapping[Key, Any]) -> bool:
    """Put the default in place of a wrong value; False where there is nothing left to do."""
    table: Any = values
    for name in key[:-1]:
        table = table.get(name) if isinstance(table, dict) else None
    if key in defaults and isinstance(table, dict) and table.get(key[-1]) != defaults[key]:
        table[key[-1]] = defaults[key]
    elif key not in defaults and isinstance(table, dict) and key[-1] in table:
        del table[key[-1]]
    elif key not in defaults and len(key) > 1:
        # An item of a list, or a missing key: repair what is around it.
        return _repaired(values, key[:-1], defaults)
    else:
        return False
    return True


def problems_of(
    error: BaseException, known: Mapping[Key, object], at: Key = ()
) -> Iterator[Problem]:
    """Yield every single problem inside an error that a strict converter raised.

    `known` has the default settings' keys, from which the closest is offered for an unknown one.
    """
    if isinstance(error, ClassValidationError):
        for inner, note in error.group_exceptions()[0]:
            yield from problems_of(inner, known, (*at, note.name))
        for inner in error.group_exceptions()[1]:
            yield from problems_of(inner, known, at)
    elif isinstance(error, IterableValidationError):
        for inner, item in error.group_exceptions()[0]:
            yield from problems_of(inner, known, (*at, str(item.index)))
        for inner in error.group_exceptions()[1]:
            yield from problems_of(inner, known, at)
    elif isinstance(error, ForbiddenExtraKeysError):
        names = [field.name for field in fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield Problem((*at, name), f"is no setting; {_closest(name, names, at, known)}")
    elif isinstance(error, Problems):
        for key, text in error.found:
            yield Problem((*at, *key), text)
    elif isinstance(error, KeyError):
        yield Problem(at, "is missing")
    else:
        yield Problem(at, str(error))


def _closest(name: str, names: list[str], at: Key, known: Mapping[Key, object]) -> str:
    near = get_close_matches(name, names, 1, 0.6)
    if near:
        return f"did you mean {dotted((*at, near[0]))}?"
    elsewhere = {key[-1]: key for key in known}
    far = get_close_matches(name, list(elsewhere), 1, 0.8)
    if far:
        return f"did you mean {dotted(elsewhere[far[0]])}?"
    return f"known here: {', '.join(sorted(names))}"


def flat(table: Mapping[str, Any], at: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every value of a nested table, with its whole key."""
    for name, value in table.items():
        key = (*at, name)
        if isinstance(value, Mapping) and value:
            yield from flat(value, key)
        else:
            yield key, value


def secret(variable: str, environ: Mapping[str, str], errors: list[str]) -> str:
    """Return the variable's value, or the text of the file that `<variable>_FILE` names; or ""."""
    path = environ.get(f"{variable}_FILE")
    if not path:
        return environ.get(variable, "")
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        errors.append(f"environment: {variable}_FILE: {path} cannot be read: {reason}")
        return ""


def plain(value: Any) -> Any:
    """Return a settings value as JSON and TOML know it."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return "off" if value is None else value
