"""The file of tokens is taken up while we serve, and never half of it."""

import logging
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.core.model.errors import SecretUnsafe
from stream.edge.http.token_file import TokenFile, rewrite
from stream.edge.http.tokens import Client, ClientRole, Tokens, line_of, read_tokens

A, B = (line_of(Client(name, ClientRole.SWITCH), f"rf_{name}") for name in "ab")


class Watched:
    """A file that is looked at, and who is let in by it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.written = 0
        self.put(text)
        self.file = TokenFile(path, read_tokens(text, []), self.take_up)
        self.names: list[list[str]] = []
        for _ in range(2):
            self.file.look()

    def put(self, text: str) -> None:
        """Write it, as an editor does; each time is another one for the file system."""
        self.path.write_text(text)
        self.written += 1
        os.utime(self.path, ns=(self.written * 10**9, self.written * 10**9))

    def take_up(self, tokens: Tokens) -> None:
        self.names.append([client.name for _, client in tokens.held])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "tokens", f"{A}\n{B}\n")


def test_a_change_is_taken_up_once_it_stands_still(watched: Watched) -> None:
    """Two looks find the same file: half of one that is being written locks nobody out."""
    assert watched.names == []
    watched.put(A)
    watched.file.look()
    watched.put(f"{A}\n{B[:40]}")  # somebody is writing
    watched.file.look()
    assert watched.names == []
    watched.put(f"# nobody\n{B}\n")
    watched.file.look()
    watched.file.look()
    assert watched.names == [["b"]]
    for _ in range(3):
        watched.file.look()
    assert watched.names == [["b"]]


def test_who_says_so_need_not_wait(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """On SIGHUP it is read at once; the log has who came and went, and no token."""
    caplog.set_level(logging.INFO, "stream.edge.http.token_file")
    watched.put(A)
    watched.file.read()
    assert watched.names == [["a"]]
    (record,) = caplog.records
    assert (record.clients, record.added, record.gone) == (1, [], ["b"])  # type: ignore[attr-defined]
    watched.file.read()
    assert len(watched.names) == 1


@pytest.mark.expects_errors("this client is refused")
def test_a_wrong_line_is_named_and_keeps_no_revoked_token(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The other lines count as they stand now: a slip of the pen revives nobody."""
    watched.put(f"{A}\nb switch rf_oops\n")
    watched.file.read()
    assert watched.names == [["a"]]
    assert "line 2" in caplog.text
    assert "rf_oops" not in caplog.text


def test_a_file_that_can_not_be_read_changes_nothing(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """It is gone, or no text: its clients still get in, one line is logged, and it recovers."""
    watched.path.unlink()
    watched.file.read()
    for _ in range(3):
        watched.file.look()
    watched.path.write_bytes(b"\xff\xfe")
    watched.file.read()
    assert watched.names == []
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert all(one.startswith("tokens stay as they were: ") for one in said)
    watched.put(B)
    watched.file.look()
    watched.file.look()
    assert watched.names == [["b"]]


def test_tokens_of_the_environment_stay(caplog: pytest.LogCaptureFixture) -> None:
    """There is no file to read; the message says what to do."""
    taken: list[Tokens] = []
    file = TokenFile(None, read_tokens(A, []), taken.append)
    file.look()
    file.read()
    assert not taken
    assert "restart" in caplog.text


def test_a_file_is_rewritten_whole_and_as_private(tmp_path: Path) -> None:
    """Its mode stays, a link stays one, nothing is left beside it; what fails changes nothing."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "tokens", tmp_path / "tokens"
    real.write_text("a")
    real.chmod(0o640)
    link.symlink_to(real)
    assert rewrite(link, lambda text: text + "b")
    assert (real.read_text(), link.is_symlink()) == ("ab", True)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert not rewrite(link, lambda _: None)
    assert [path.name for path in real.parent.iterdir()] == ["tokens"]
    with pytest.raises(SecretUnsafe, match="cannot be read"):
        rewrite(tmp_path / "none", lambda text: text)


def typed(*words: str, **environ: str) -> tuple[int, str, str]:
    """Exit code and output of `ringfence token ...`."""
    done = CliRunner().invoke(app, ["token", *words], env=environ, catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """The commands on one file, with and without a verb; each says what to do where it cannot."""
    path = tmp_path / "tokens"
    made = [
        typed("old", "--role", "switch"),
        typed("create", "new", "--role", "viewer", "--expires-in", "90d"),
    ]
    path.write_text("".join(out.splitlines()[1] + "\n" for _, out, _ in made))
    code, out, _ = typed("list", "--file", str(path), "--json")
    assert code == 0
    assert '"name": "old"' in out
    assert '"expires_at": null' in out
    assert '"expired": false' in out
    code, out, _ = typed("revoke", "old", "--reason", "lost\nevil operator", "--file", str(path))
    assert (code, "revoked: old" in out) == (0, True)
    assert [client.name for _, client in read_tokens(path.read_text(), []).held] == ["new"]
    assert "(lost evil operator)" in path.read_text()
    code, out, _ = typed("list", RINGFENCE_HTTP_TOKENS_FILE=str(path))
    assert code == 0
    assert "new" in out
    assert "old" not in out
    code, _, said = typed("revoke", "old", RINGFENCE_HTTP_TOKENS_FILE=str(path))
    assert (code, "has no client old" in said) == (1, True)
    code, _, said = typed("revoke", "new", RINGFENCE_HTTP_TOKENS="x", RINGFENCE_HTTP_TOKENS_FILE="")
    assert (code, "restart" in said) == (2, True)
    code, _, said = typed("revoke", "new", "--file", str(tmp_path / "no"))
    assert (code, "cannot be read" in said) == (2, True)
    # In a shell without the variables of the unit: there is no client, as far as it knows.
    code, _, said = typed("list", RINGFENCE_HTTP_TOKENS="", RINGFENCE_HTTP_TOKENS_FILE="")
    assert (code, "--file" in said) == (0, True)
    path.write_text("x y z\n")
    code, _, said = typed("list", "--file", str(path))
    assert (code, "line 1" in said) == (1, True)


def test_changes_at_once_are_all_made(tmp_path: Path) -> None:
    """Two people revoke each a token: neither writes the other's back."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{n}\n" for n in range(8)))

    def without(n: int) -> bool:
        def change(text: str) -> str:
            time.sleep(0.01)  # others read the same text, if they may
            return text.replace(f"{n}\n", "")

        return rewrite(path, change)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(without, range(8)))
    assert path.read_text() == ""
