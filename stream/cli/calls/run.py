"""`ringfence run` and `warm`: decide calls, and compile what decides them."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, own, settings_of
from stream.cli.output import err, out, print_json
from stream.config.agreement_files import agreements_of
from stream.ops.kernels import warm_up
from stream.services import supervisor
from stream.services import worker as engine


def run(
    config: ConfigFiles = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes; about one a core.")
    ] = 1,
    worker: Annotated[int | None, typer.Option(hidden=True, min=0)] = None,
) -> None:
    """Read calls, decide them, publish the decisions; until SIGTERM or Ctrl-C.

    Logs to stderr: JSON lines, or readable ones on a terminal. Exit codes: 0 stopped in order,
    1 died, 2 wrong configuration, 3 Kafka or Redis are not set up as they have to be.

    Example: ringfence run --config carrier.toml --workers 4
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
    if worker is not None:
        code = engine.run(settings, supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = engine.run(settings)
    else:
        work = supervisor.Work("run", words_of(config), settings.ops.http_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


def words_of(config: list[Path] | None) -> list[str]:
    """The options that name the same configuration to a worker."""
    return [word for path in config or [] for word in ("--config", str(path))]


def warm(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Compile the kernels that decide calls, and keep them where workers look for them.

    A worker does the same when it starts, but then calls wait for it: half a minute after
    an upgrade, a second once they are there. Exit code 1 if they cannot be used, and why.

    Example: ringfence warm --config carrier.toml
    """
    settings = settings_of(config)
    folder = settings.ops.kernels_folder(settings.lists.state_dir)
    own(folder if folder.exists() else folder.parent)
    warmth = warm_up(folder)
    if as_json:
        print_json({"compiled": not warmth.why_not, "why_not": warmth.why_not or None})
    elif warmth.why_not:
        err.print(f"no compiled kernels: {warmth.why_not}", markup=False, soft_wrap=True)
    else:
        out.print(f"the kernels are compiled ({warmth.seconds:.1f} s)")
    if warmth.why_not:
        raise typer.Exit(1)
