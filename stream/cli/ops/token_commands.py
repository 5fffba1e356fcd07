"""`ringfence token`: who may ask `ringfence serve`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from stream.cli.common import AsJson
from stream.cli.list_store import NOTHING_DONE, USAGE, ExpiresIn, expiry, fail, now_s, say, text_in
from stream.cli.output import complain, err, out, print_json
from stream.config.settings import HTTP_TOKENS
from stream.core.model import names
from stream.core.model.errors import SecretUnsafe
from stream.core.model.moments import rfc3339
from stream.edge.http.token_file import rewrite
from stream.edge.http.tokens import Client, Role, line_of, new_token, read_tokens, revoked
from stream.ops.schema.toml import secret

_FILE = f"{HTTP_TOKENS}_FILE"
File = Annotated[
    Path | None,
    typer.Option("--file", envvar=_FILE, help="The file of tokens.", show_default=False),
]


class _OrCreate(TyperGroup):
    """`ringfence token NAME --role ROLE`, from before there were verbs, is `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_OrCreate, no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who the token is for; it stands in logs.")],
    role: Annotated[Role, typer.Option(help="What they may do.")],
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for a client of `ringfence serve`; it is shown once and kept nowhere.

    The line beside it, with the token's hash, goes into the file that RINGFENCE_HTTP_TOKENS_FILE
    names; `ringfence serve` takes it up within seconds, or at once on SIGHUP.

    Example: ringfence token create switch-bkk-1 --role switch --expires-in 365d
    """
    if (wrong := names.wrong(names.NameKind.CLIENT, name)) is not None:
        raise typer.BadParameter(wrong)
    made = new_token()
    until_s = expiry(expires_in)
    line = line_of(Client(name, role, until_s), made)
    if as_json:
        expires = {"expires_at": rfc3339(until_s)} if until_s else {}
        print_json({"token": made, "line": line, **expires})
        return
    err.print("the token, for the client:")
    out.print(made, markup=False, soft_wrap=True)
    err.print("the line for the file that RINGFENCE_HTTP_TOKENS_FILE names:")
    out.print(line, markup=False, soft_wrap=True)


@app.command("list")
def list_(file: File = None, as_json: AsJson = False) -> None:
    """Say who has a token, of which role, and until when.

    It reads what `ringfence serve` reads: the file that RINGFENCE_HTTP_TOKENS_FILE names, else
    RINGFENCE_HTTP_TOKENS. Exit code 1 if a line of it cannot be used.

    Example: ringfence token list --file /etc/ringfence/tokens
    """
    errors: list[str] = []
    environ = {**os.environ, **({_FILE: str(file)} if file is not None else {})}
    held = read_tokens(secret(HTTP_TOKENS, environ, errors), errors).held
    at_s = now_s()
    if as_json:
        print_json(
            [
                {
                    "name": client.name,
                    "role": client.role,
                    "expires_at": rfc3339(client.expires_at_s) if client.expires_at_s else None,
                    "expired": client.expired(at_s),
                }
                for _, client in held
            ]
        )
    else:
        table = Table("client", "role", "good until", box=None, header_style="bold")
        for _, client in held:
            until = rfc3339(client.expires_at_s) if client.expires_at_s else "it is revoked"
            over = " (expired)" if client.expired(at_s) else ""
            table.add_row(client.name, client.role, f"{until}{over}")
        out.print(table)
    for error in errors:
        err.print(f"{HTTP_TOKENS}: {error}", markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(NOTHING_DONE)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The client, as `token list` names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the file.")] = "",
    file: File = None,
) -> None:
    """End a client's token, and the page's sessions that were opened with it.

    Its line in the file that RINGFENCE_HTTP_TOKENS_FILE names becomes a comment. Every process of
    `ringfence serve` takes that up within seconds, or at once on SIGHUP. Exit codes: 0 it is
    revoked, 1 there is no such client, 2 the file cannot be changed.

    Example: ringfence token revoke switch-bkk-1 --reason "stolen laptop"
    """
    if file is None:
        where = (
            f"they stand in {HTTP_TOKENS}: take the line out there and restart `ringfence serve`"
        )
        text = (
            where
            if os.environ.get(HTTP_TOKENS)
            else f"name the file of tokens by --file or {_FILE}"
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
