"""`ringfence serve-sip`: verdicts for switches that can ask by SIP only."""

import typer

from stream.cli.common import ConfigFiles, own, settings_of
from stream.config.agreement_files import agreements_of
from stream.services import sip


def serve_sip(config: ConfigFiles = None) -> None:
    """Answer SIP: 404 go on, 603 blocked; until SIGTERM or Ctrl-C.

    A switch sends an INVITE before it routes a call, by UDP or TCP, and goes by the answer. OPTIONS
    are answered 200, or 503 while no lists are loaded. Exit codes as for `run`.

    Example: ringfence serve-sip --config carrier.toml
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    agreements_of(settings)
    raise typer.Exit(sip.run(settings))
