"""How commands talk: data on stdout, everything else on stderr, so that output can be piped."""

from typing import Any

import msgspec
from rich.console import Console

from stream.core.model.errors import ConfigInvalid, Fault

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    out.print(
        msgspec.json.format(msgspec.json.encode(value)).decode(), markup=False, soft_wrap=True
    )


def print_line(value: Any) -> None:
    """One JSON object on a line of its own on stdout."""
    out.print(msgspec.json.encode(value).decode(), markup=False, soft_wrap=True)


def complain(fault: Fault) -> None:
    """A fault as what a person reads: one clear line, or one line per configuration error."""
    if isinstance(fault, ConfigInvalid):
        err.print(f"[bold red]configuration:[/] {len(fault.errors)} errors")
        for error in fault.errors:
            err.print(f"  {error}", markup=False, soft_wrap=True)
    else:
        err.print(f"[bold red]{type(fault).__name__}:[/]", end=" ")
        err.print(str(fault), markup=False, soft_wrap=True)
