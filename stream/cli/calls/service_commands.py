"""`ringfence run`, `serve`, `serve-sip` and `warm`: the processes that decide calls.

Each imports its service when it runs. A worker must not carry the HTTP service's imports (FastAPI
alone takes as long to load as all other commands together).
"""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import own, settings_of, words_of
from stream.cli.options import ConfigFiles, Output, Worker
from stream.cli.output import NOTHING_DONE, Format, note, render, say
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.ops.kernels import warm_up

Workers = Annotated[int, typer.Option(min=1, max=256, help="Worker processes, about one per core.")]


def run(config: ConfigFiles = None, workers: Workers = 1, worker: Worker = None) -> None:
    """Read calls, decide them, publish decisions. Runs until SIGTERM or Ctrl-C.

    Logs to stderr: JSON lines, or readable lines on a terminal. Exit codes: 0 stopped in order, 1
    crashed, 2 wrong configuration, 3 Kafka or Redis is not set up as required.

    Example: ringfence run --config carrier.toml --workers 4
    """
    from stream.services import supervisor
    from stream.services import worker as engine

    settings = _checked(config)
    if worker is not None:
        code = engine.run(settings, supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = engine.run(settings)
    else:
        work = supervisor.Work("run", words_of(config), settings.ops.http_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


def serve(config: ConfigFiles = None, workers: Workers = 1, worker: Worker = None) -> None:
    """Serve HTTP: take records, answer lookups, show the page. Runs until SIGTERM or Ctrl-C.

    `/docs` describes every address. Clients send a token from `ringfence token create`. SIGHUP
    makes it read the file of tokens again at once. The workers share the port. Exit codes as for
    `run`.

    Example: ringfence serve --config carrier.toml --workers 2
    """
    from stream.services import http, supervisor

    settings = _checked(config)
    if worker is not None:
        code = http.run(settings, words_of(config), supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = http.run(settings, words_of(config))
    elif settings.serve.port == 0:
        raise typer.BadParameter("--workers needs a port that they share: set port in [serve]")
    else:
        work = supervisor.Work("serve", words_of(config), settings.serve.health_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


def serve_sip(config: ConfigFiles = None, workers: Workers = 1, worker: Worker = None) -> None:
    """Answer SIP: 404 continue, 603 blocked. Runs until SIGTERM or Ctrl-C.

    A switch sends an INVITE by UDP, TCP or TLS before it routes a call, and follows the answer.
    OPTIONS get 200, or 503 while no lists are loaded. The workers share the ports. Exit codes as
    for `run`.

    Example: ringfence serve-sip --config carrier.toml --workers 2
    """
    from stream.services import sip, supervisor

    settings = _checked(config)
    if worker is not None:
        code = sip.run(settings, supervisor.place_of_worker(worker, workers))
    elif workers == 1:
        code = sip.run(settings)
    elif settings.sip.port == 0 or (settings.sip.cert_file and settings.sip.tls_port == 0):
        text = "--workers needs ports that they share: set port and tls_port in [sip]"
        raise typer.BadParameter(text)
    else:
        work = supervisor.Work("serve-sip", words_of(config), settings.sip.health_port)
        code = supervisor.run(settings, workers, work)
    raise typer.Exit(code)


def _checked(config: list[Path] | None) -> Settings:
    """Return the settings of a service. Ends where it could not keep its state, or agreements."""
    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
    return settings


def warm(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Compile the kernels that decide calls, and store them where workers look for them.

    A worker does the same at its start, but then calls wait. After an upgrade that takes half a
    minute, later one second. Exit code 1: the kernels cannot be used; it says why.

    Example: ringfence warm --config carrier.toml
    """
    settings = settings_of(config)
    folder = settings.ops.kernels_folder(settings.lists.state_dir)
    # Those of an image are root's and whole: nothing is written, so it matters not whose they are.
    warmth = warm_up(folder, may_compile=False)
    if warmth.why_not and not warmth.final:
        own(folder if folder.exists() else folder.parent)
        warmth = warm_up(folder, side_by_side=True)

    def draw() -> None:
        if warmth.why_not:
            note(f"no compiled kernels: {warmth.why_not}")
        else:
            say(f"the kernels are compiled ({warmth.seconds:.1f} s)")

    render(form, {"compiled": not warmth.why_not, "why_not": warmth.why_not or None}, draw)
    if warmth.why_not:
        raise typer.Exit(NOTHING_DONE)
