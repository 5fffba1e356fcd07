"""`ringfence doctor`: what is wrong here, and what mends it."""

import asyncio
from collections.abc import Sequence

import typer
from rich.text import Text

from stream.cli.common import AsJson, ConfigFiles, quiet_clients, settings_of
from stream.cli.output import out, print_json
from stream.core.model.errors import ConfigInvalid
from stream.doctor.result import CheckLine, Grade, fail
from stream.doctor.run_checks import examine, sound

_STYLE = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "bold red"}


def doctor(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Look at everything that this machine needs, and say what is wrong and what mends it.

    Kafka with its topics and rights, Redis, clocks, state directory, lists, agreements, keys,
    signatures, certificates, versions, ports. It changes nothing, and each check has 20 s.
    Exit codes: 0 nothing failed (warnings there may be), 1 something did.

    Example: ringfence doctor --config carrier.toml
    """
    quiet_clients()
    try:
        lines = asyncio.run(examine(settings_of(config)))
    except ConfigInvalid as wrong:
        lines = [fail("configuration", error, "ringfence check-config") for error in wrong.errors]
    if as_json:
        print_json({"sound": sound(lines), "lines": lines})
    else:
        _print(lines)
    raise typer.Exit(0 if sound(lines) else 1)


def _print(lines: Sequence[CheckLine]) -> None:
    for line in lines:
        text = Text(f"{line.grade:5}", _STYLE[line.grade])
        text.append(f"{line.check}: ", "bold")
        text.append(line.said)
        out.print(text, soft_wrap=True)
        if line.fix:
            out.print(Text(f"     -> {line.fix}", "cyan"), soft_wrap=True)
    counts = {grade: sum(line.grade is grade for line in lines) for grade in Grade}
    out.print(", ".join(f"{count} {grade}" for grade, count in counts.items()))
