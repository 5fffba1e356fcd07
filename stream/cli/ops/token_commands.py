"""`ringfence token`: the clients of `ringfence serve`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.common import expiry, text_in
from stream.cli.lazy_group import OTHER_NAMES, Group, group
from stream.cli.options import ExpiresIn, Output
from stream.cli.output import (
    NOTHING_DONE,
    USAGE,
    Format,
    complain,
    fail,
    note,
    print_table,
    render,
    say,
)
from stream.config.settings import HTTP_TOKENS
from stream.core.model import names
from stream.core.model.errors import SecretUnsafe
from stream.core.model.moments import rfc3339
from stream.edge.http.token_file import rewrite
from stream.edge.http.tokens import Client, ClientRole, line_of, new_token, read_tokens, revoked
from stream.ops.clock import now_s
from stream.ops.schema.toml import secret

_FILE = f"{HTTP_TOKENS}_FILE"
_NO_FILE = f"name the file of tokens by --file or {_FILE}"
File = Annotated[
    Path | None,
    typer.Option("--file", envvar=_FILE, help="The file of tokens.", show_default=False),
]


class _OrCreate(Group):
    """`ringfence token NAME --role ROLE`, from before there were verbs, is `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *OTHER_NAMES, "-h", "--help"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = group(_OrCreate)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The client's name. Logs show it.")],
    role: Annotated[ClientRole, typer.Option(help="The client's role.")],
    expires_in: ExpiresIn = None,
    form: Output = Format.TABLE,
) -> None:
    """Make a token for a client of `ringfence serve`. It is printed once and not stored.

    Put the printed line with the token's hash into the file that RINGFENCE_HTTP_TOKENS_FILE names.
    `ringfence serve` reads it within seconds, or at once on SIGHUP.

    Example: ringfence token create switch-bkk-1 --role switch --expires-in 365d
    """
    if (wrong := names.wrong(names.NameKind.CLIENT, name)) is not None:
        raise typer.BadParameter(wrong)
    made = new_token()
    until_s = expiry(expires_in)
    line = line_of(Client(name, role, until_s), made)
    expires = {"expires_at": rfc3339(until_s)} if until_s else {}
    render(form, {"token": made, "line": line, **expires}, lambda: _print_made(made, line))


def _print_made(token: str, line: str) -> None:
    # What each line is goes to stderr, so that stdout can be cut in two by a script.
    note("the token, for the client:")
    say(token)
    note("the line for the file that RINGFENCE_HTTP_TOKENS_FILE names:")
    say(line)


@app.command("list")
def list_(file: File = None, form: Output = Format.TABLE) -> None:
    """List the clients with a token: role and expiry.

    It reads the file that RINGFENCE_HTTP_TOKENS_FILE names, else RINGFENCE_HTTP_TOKENS, as
    `ringfence serve` does. Exit code 1: a line cannot be used.

    Example: ringfence token list --file /etc/ringfence/tokens
    """
    errors: list[str] = []
    environ = {**os.environ, **({_FILE: str(file)} if file is not None else {})}
    held = read_tokens(secret(HTTP_TOKENS, environ, errors), errors).held
    at_s = now_s()
    rows = [
        {
            "name": client.name,
            "role": client.role,
            "expires_at": rfc3339(client.expires_at_s) if client.expires_at_s else None,
            "expired": client.expired(at_s),
        }
        for _, client in held
    ]
    render(form, rows, lambda: print_table(("client", "role", "good until"), map(_cells, rows)))
    if not (environ.get(_FILE) or environ.get(HTTP_TOKENS)):
        note(_NO_FILE)
    for error in errors:
        note(f"{HTTP_TOKENS}: {error}")
    if errors:
        raise typer.Exit(NOTHING_DONE)


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    over = " (expired)" if row["expired"] else ""
    return row["name"], row["role"], f"{row['expires_at'] or 'it is revoked'}{over}"


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The client's name in `token list`.")],
    reason: Annotated[str, typer.Option("--reason", help="Why. The file keeps it.")] = "",
    file: File = None,
) -> None:
    """Revoke a client's token, and end the page's sessions that it opened.

    Its line in the file that RINGFENCE_HTTP_TOKENS_FILE names becomes a comment. Every process of
    `ringfence serve` reads this within seconds, or at once on SIGHUP. Exit codes: 0 revoked, 1 no
    such client, 2 the file cannot be changed.

    Example: ringfence token revoke switch-bkk-1 --reason "stolen laptop"
    """
    if file is None:
        text = _NO_FILE
        if os.environ.get(HTTP_TOKENS):
            text = (
                f"they stand in {HTTP_TOKENS}: take the line out there and restart "
                "`ringfence serve`"
            )
        fail(text, USAGE)
    why = text_in(reason, "--reason")
    try:
        done = rewrite(file, lambda text: revoked(text, name, now_s(), why))
    except SecretUnsafe as fault:
        complain(fault)
        raise typer.Exit(USAGE) from fault
    if not done:
        fail(f"{file} has no client {name}: `ringfence token list` names them", NOTHING_DONE)
    say(f"revoked: {name}; `ringfence serve` refuses it within seconds")
