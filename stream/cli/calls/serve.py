"""`ringfence serve`: the HTTP service and the operators' pages."""

from typing import Annotated

import typer

from stream.cli.calls.run import words_of
from stream.cli.common import ConfigFiles, own, settings_of
from stream.config.agreement_files import agreements_of
from stream.services import http, supervisor


def serve(
    config: ConfigFiles = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that share the port; about one a core.")
    ] = 1,
    worker: Annotated[int | None, typer.Option(hidden=True, min=0)] = None,
) -> None:
    """Serve HTTP: records in, verdicts and lists out; until SIGTERM or Ctrl-C.

    `/docs` describes every address. Clients show a token that `ringfence token create` made;
    SIGHUP has the file of tokens read again at once. Exit codes as for `run`.

    Example: ringfence serve --config carrier.toml --workers 2
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
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
