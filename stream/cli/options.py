"""Options and arguments that several commands share, each declared once."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import typer

from stream.cli.output import STDOUT, Format

STDIN: Final = "-"
OR_STDIN: Final = " `-` reads from stdin."
"""Of each argument that is a number: so `ps` and the shell's history do not have it."""
_PIPED: Final = "stdin"
_FOLDER: Final = "ringfence-stdin-"
_JSON: Final = "ringfence.json"
_VALUES: Final = {int: "NUMBER", float: "NUMBER", Path: "FILE"}

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        envvar="RINGFENCE_CONFIG",
        help="A TOML file over the defaults, or a folder of them. Repeatable: later "
        "files override earlier ones. Default: /etc/ringfence.",
        show_default=False,
    ),
]
Worker = Annotated[int | None, typer.Option(hidden=True, min=0)]
"""Given by a supervisor to the processes that it starts: which of them this one is."""


def _form(context: typer.Context, value: Format) -> Format:
    return Format.JSON if context.meta.get(_JSON) else value


Output = Annotated[
    Format, typer.Option("--output", "-o", help="The format of printed data.", callback=_form)
]
"""`--json`, which means `-o json`, comes with it: `give` adds it."""
ToFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The file to write. Default: stdout."),
]

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        envvar="RINGFENCE_ACTOR",
        help="Who does this, for the audit log. Default: the login name.",
    ),
]


def given(parameter: typer.CallbackParam, value: str) -> str:
    """The callback of a reason: where one is required, an empty one is none."""
    if parameter.required and not value.strip():
        raise typer.BadParameter("is empty: the audit log has to say why")
    return value


Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit log.", callback=given)]
ListName = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list, e.g. TH/national.")]
Region = Annotated[
    str | None, typer.Option("--region", help="The country of national numbers, e.g. TH.")
]
CategoryName = Annotated[str, typer.Option("--category", help="The category of the report.")]
Confidence = Annotated[
    int, typer.Option("--confidence", min=0, max=100, help="The confidence, 0 to 100.")
]
ExpiresIn = Annotated[
    str | None, typer.Option("--expires-in", help="10d, 12h, 30m. Default: never.")
]
Full = Annotated[bool, typer.Option("--full", help="Show whole numbers, not masked.")]
FromState = Annotated[bool, typer.Option("--from-state", help="Put back what workers here know.")]
SameStore = Annotated[
    bool,
    typer.Option(
        "--same-store",
        help="With --from-state: this Redis was begun in the place of the one that was lost.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if a row is rejected.")]
NumberColumn = Annotated[
    str,
    typer.Option(
        "--number", metavar="COLUMN", help="The column of the numbers: header or position."
    ),
]
SheetName = Annotated[
    str, typer.Option("--sheet", metavar="SHEET", help="A workbook's sheet: name or position.")
]
ItemsPath = Annotated[
    str, typer.Option("--items", metavar="PATH", help="The rows' path in JSON or XML: data.list.")
]
_Order = Literal["iso", "day-month", "month-day"]  # `lookalikes.DateOrder`, without its load time
DayOrder = Annotated[
    _Order | None,
    typer.Option("--dates", help="The order of days like 01/02/2026: day-month or month-day."),
]
ExpiresOrder = Annotated[
    _Order | None, typer.Option("--expires-dates", help="The same for expiry dates, if it differs.")
]
UntilTime = Annotated[
    str, typer.Option("--to", metavar="TIME", help="End of the period. Default: now.")
]


def piped(context: typer.Context, value: Path) -> Path:
    """The callback of a file to read: for `-`, stdin in a private file until the command ends.

    The same for a pipe, as of `<(zcat numbers.gz)`: it can be read once, and we read twice.
    """
    if value != STDOUT:
        # Looked at here: typer takes no `-` for a path that has to exist.
        if not value.exists():
            raise typer.BadParameter(f"{str(value)!r} does not exist")
        if value.is_file() or value.is_dir():
            return value
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    gone = partial(shutil.rmtree, folder, ignore_errors=True)
    context.call_on_close(gone)
    opened = nullcontext(sys.stdin.buffer) if value == STDOUT else value.open("rb")
    try:
        with opened as source, (folder / _PIPED).open("wb") as file:
            shutil.copyfileobj(source, file)
    except BaseException:
        gone()  # a context is never closed if Ctrl-C comes while its arguments are read
        raise
    return folder / _PIPED


def file_or_piped(context: typer.Context, value: Path) -> Path:
    """The same, of what cannot be a folder."""
    # Not asked of `-`: another user's folder, where somebody typed `sudo -u`, does not answer.
    if value != STDOUT and value.is_dir():
        raise typer.BadParameter(f"{str(value)!r} is a folder")
    return piped(context, value)


def is_piped(file: Path) -> bool:
    """Return whether a file to read came by stdin."""
    return file.name == _PIPED and file.parent.name.startswith(_FOLDER)


FromPartner = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A file as the partner sends it." + OR_STDIN, callback=piped
    ),
]
"""A folder, too: MISP publishes one."""


def typed_or_piped(value: Any) -> Any:
    """The callback of a number, one text or several: `-` stands for stdin's lines."""
    if not isinstance(value, str):
        return _all(value)
    if value != STDIN:
        return value
    lines = _lines()
    if len(lines) != 1:
        raise typer.BadParameter(f"stdin has {len(lines)} lines, and one is asked for")
    return lines[0]


def _all(texts: Sequence[str]) -> list[str]:
    if texts.count(STDIN) > 1:
        raise typer.BadParameter("- may stand there once: stdin is read once")
    return [one for text in texts for one in (_lines() if text == STDIN else [text])]


def _lines() -> list[str]:
    lines = [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise typer.BadParameter("- reads stdin, and nothing came")
    return lines


TIMEOUT_S: Final = 15.0
SERVICES: Final = frozenset(
    {
        ("run",),
        ("serve",),
        ("serve-sip",),
        ("top",),
        ("demo",),
        ("exercise",),
        ("feeds", "run"),
        ("exchange", "run"),
        ("enforcement", "run"),
        ("sink", "redis"),
        ("sink", "webhooks"),
    }
)
"""Services run until they are stopped. They wait for servers without a limit, so that the order of
starts does not matter."""
LOCAL: Final = frozenset(
    {
        ("init",),
        *(("assets", name) for name in ("list", "export")),
        ("check-config",),
        ("config", "schema"),
        ("health",),
        ("warm",),
        ("backup-key",),
        ("assets", "export"),
        *(("feeds", name) for name in ("check", "detect")),
        *(("agreements", name) for name in ("check", "list", "show", "explain")),
        *(("circle", name) for name in ("create", "rotate", "list")),
        *(("dialects", name) for name in ("list", "detect", "test")),
        *(("token", name) for name in ("create", "list", "revoke")),
        *(("exchange", name) for name in ("init", "add-list", "resign", "status", "revoke")),
        *(("exchange", name) for name in ("verify", "serve-check", "bundle", "import-bundle")),
        *(("exchange", "key", name) for name in ("create", "list", "rotate")),
        *(("exchange", "hub", name) for name in ("init", "add", "sync")),
        ("exchange", "follow"),
    }
)
"""Commands that ask neither Kafka nor Redis; what they ask by HTTP has limits of its own."""


@dataclass(slots=True)
class Chosen:
    """The `--timeout` of the command that runs; None: no limit. `said`: the user knows it waits."""

    seconds: float | None = None
    said: bool = False


CHOSEN: Final = Chosen()


def _set_timeout(value: float) -> None:
    CHOSEN.seconds = value


def _set_json(context: typer.Context, wanted: bool) -> None:
    context.meta[_JSON] = wanted


@cache
def _given() -> dict[str, Any]:
    """Return the parameters `--timeout` and `--json` by name, as typer makes them."""
    host = typer.Typer(add_completion=False)

    @host.command()
    def _(
        timeout: Annotated[
            float,
            typer.Option(
                "--timeout",
                metavar="SECONDS",
                min=0.1,
                max=86_400.0,
                help="End with exit code 3 if Kafka or Redis does not answer for this long.",
                expose_value=False,
                callback=_set_timeout,
            ),
        ] = TIMEOUT_S,
        # Eager: read before `-o`, whose callback has to know of it.
        as_json: Annotated[
            bool,
            typer.Option(
                "--json",
                help="The same as -o json.",
                expose_value=False,
                is_eager=True,
                callback=_set_json,
            ),
        ] = False,
    ) -> None: ...

    return {one.name: one for one in typer.main.get_command(host).params if one.name}


def give(command: Any, path: tuple[str, ...]) -> None:
    """Add the options that no command declares to `command` and all below it.

    `--timeout` where it asks a server, `--json` where it prints data. Added here, so that no
    command can lack them.
    """
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        give(one, (*path, name))
    had = {one.name: one for one in command.params}
    # A group that is a command too (`ringfence audit`) has settings.
    asks = ("config" in had or not inner) and path not in SERVICES | LOCAL
    prints = any(getattr(one.default, "__class__", None) is Format for one in had.values())
    for name, wanted in (("timeout", asks), ("as_json", prints)):
        if wanted and name not in had:
            command.params.append(_given()[name])
    for one in command.params:
        _name_value(one)


def _name_value(parameter: Any) -> None:
    """Have the help say NUMBER or FILE where typer would write a type of Python."""
    descriptor = parameter.type_descriptor
    if parameter.metavar or descriptor.is_choice or getattr(parameter, "is_flag", False):
        return
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.name.upper()
        return
    kinds = {descriptor.annotation, *get_args(descriptor.annotation)}
    parameter.metavar = next((word for kind, word in _VALUES.items() if kind in kinds), "TEXT")
