"""Dialects: how one kind of switch writes a call. One small file each, with a table of fields.

To add one: a module here with a class that keeps the promises of `dialect.Dialect`, a line in
`dialect_named`, and samples with what must be read from them under tests/golden/cdr/<dialect>/.
"""

from collections.abc import Mapping

from stream.calls.dialects.dialect import Dialect
from stream.calls.dialects.mapping import CsvMapping, JsonMapping, MappingSettings
from stream.calls.dialects.ringfence import RINGFENCE


def dialect_named(name: str, mappings: Mapping[str, MappingSettings]) -> Dialect:
    """The dialect that the configuration calls `name`: `ringfence`, or `mapping:<one of mappings>`.

    Raises ValueError, naming what there is, where there is none of that name.
    """
    kind, _, which = name.partition(":")
    if kind == "mapping" and which in mappings:
        settings = mappings[which]
        if settings.format == "csv":
            return CsvMapping(name, settings)
        return JsonMapping(name, settings)
    if name == RINGFENCE.name:
        return RINGFENCE
    known = [RINGFENCE.name, *(f"mapping:{key}" for key in mappings)]
    raise ValueError(f"no dialect is called {name!r}; there are {', '.join(known)}")
