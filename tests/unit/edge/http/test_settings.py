"""`[serve]` and its tokens: what cannot be used is said before anything listens."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid
from stream.edge.http.tokens import Client, ClientRole, read_tokens


def errors_of(tmp_path: Path, text: str, **environ: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        load([path], environ)
    return str(caught.value)


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    """A key without its certificate, and less memory for all bodies than for one."""
    (tmp_path / "key.pem").touch()
    text = f'[serve]\nkey_file = "{tmp_path / "key.pem"}"\nbodies_bytes_max = 2048\n'
    said = errors_of(tmp_path, text)
    assert "serve.cert_file: is missing: cert_file and key_file go together" in said
    assert "serve.bodies_bytes_max: must be at least body_bytes_max (16777216)" in said
    said = errors_of(tmp_path, '[serve]\ncert_file = "no.pem"\nkey_file = "no.pem"\n')
    assert 'serve.cert_file: names no file: "no.pem"' in said


def test_wrong_tokens_are_refused_by_line(tmp_path: Path) -> None:
    """The file's line is named, and a token that stands in place of its hash is not repeated."""
    tokens = tmp_path / "tokens"
    tokens.write_text("# ours\nswitch-1 switch rf_secret\n")
    said = errors_of(tmp_path, "", RINGFENCE_HTTP_TOKENS_FILE=str(tokens))
    assert "environment: RINGFENCE_HTTP_TOKENS: line 2 must end with 64 hex digits" in said
    assert "rf_secret" not in said


def test_a_token_is_made_with_its_line() -> None:
    """The output of `ringfence token` is a line of the file of tokens; the settings hide both."""
    done = CliRunner().invoke(app, ["token", "switch-1", "--role", "switch"])
    token, line = [row for row in done.stdout.splitlines() if row]
    wrong: list[str] = []
    assert read_tokens(line, wrong).client_of(token) == Client("switch-1", ClientRole.SWITCH)
    assert not wrong
    settings = load([], {"RINGFENCE_HTTP_TOKENS": line})
    assert settings.redacted()["secrets"]["RINGFENCE_HTTP_TOKENS"] == "1 clients"
    assert line.split()[2] not in repr(settings)
    assert CliRunner().invoke(app, ["token", "-", "--role", "switch"]).exit_code == 2
