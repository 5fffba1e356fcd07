"""`ringfence health`: are the processes of this machine live, or ready? For containers' probes."""

import http.client
from dataclasses import asdict, dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
import typer

from stream.cli.common import settings_of
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import NOTHING_DONE, Format, fail, render, say
from stream.core.model.errors import UNREADABLE
from stream.ops.monitor.targets import STARTED_BY, MonitorTarget

_WAIT_S: Final = 5.0
"""Longest wait for an answer; a loop that hangs accepts the connection and says nothing."""
_ANSWER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of one process: `well`, or what it says instead."""

    process: str
    url: str
    well: bool
    said: str


class _Answer(msgspec.Struct):
    """The body of `/live` and `/ready`. Another program at that port may answer anything."""

    missing: tuple[str, ...] = ()


def health(
    process: Annotated[
        str,
        typer.Argument(help="engine, feeds, serve, sip, redis-sink, ... Default: each that runs."),
    ] = "",
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask if it is ready, not only live.")
    ] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Ask the processes of this machine if they are live. For container probes.

    It uses the ports of the settings. Without PROCESS it asks every process that listens here: in a
    container, the one process in it. Exit codes: 0 all are live, 1 one is not, or none runs, 2 no
    such process.

    Example: ringfence health serve --ready
    """
    targets = {
        target.kind.value.replace(" ", "-"): target
        for target in settings_of(config).watched()
        if target.kind in STARTED_BY
    }
    if process and process not in targets:
        raise typer.BadParameter(f"{process}: there is {', '.join(targets)}", param_hint="PROCESS")
    path = "/ready" if ready else "/live"
    asked = {process: targets[process]} if process else targets
    answers = [_asked(name, target, path) for name, target in asked.items()]
    found = [one for one in answers if one is not None]
    if not found:
        where = targets[process].url if process else "any port of these settings"
        fail(f"nothing listens at {where}", NOTHING_DONE)
    render(form, [asdict(one) for one in found], lambda: _print(found))
    if not all(one.well for one in found):
        raise typer.Exit(NOTHING_DONE)


def _print(found: list[Health]) -> None:
    for one in found:
        say(f"{one.process}: {one.said}")


def _asked(name: str, target: MonitorTarget, path: str) -> Health | None:
    """Ask one process; None: no process listens there."""
    place = urlsplit(target.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_WAIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = msgspec.json.decode(answer.read(_ANSWER_BYTES), type=_Answer)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException, *UNREADABLE) as error:
        return Health(name, target.url, well=False, said=f"gives no answer: {error}")
    finally:
        connection.close()
    well = answer.status == http.client.OK
    word = path.removeprefix("/")
    missing = "; ".join(said.missing)
    text = word if well else f"not {word}{': ' if missing else ''}{missing}"
    return Health(name, target.url, well, text)
