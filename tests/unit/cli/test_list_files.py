"""Lists as files, as `ringfence lists export` writes them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from stream.cli.feeds.feed_check import Told
from stream.cli.lists.list_files import _reading, write_list
from stream.cli.output import NOTHING_DONE
from stream.core.model.entry import Entry
from stream.lists.snapshot.build import columns_from
from stream.lists.store.heads import ListHead
from tests.support.builders import entry

HEAD = ListHead("KH/scam", 2, 2, "c", "plain", 2, 0, "a", 2)
NAMED = entry("+447700900101")
UNNAMED = replace(entry("+447700900102"), number=None)


def exported(held: list[Entry], form: str, path: Path) -> str:
    asyncio.run(write_list(HEAD, columns_from(held), b"", form, path))
    return path.read_text()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("number,category\n+447700900101,parcel\n", "csv"),
        ("\u0e2b\u0e21\u0e32\u0e22\u0e40\u0e25\u0e02;number\n1;+447700900101\n", "csv"),
        ("+447700900101\n+447700900102\n", "text"),
        ("# of the police, letter 12\n+447700900101\n", "text"),
    ],
)
def test_a_table_by_stdin_is_one(tmp_path: Path, text: str, kind: str) -> None:
    """It has no ending that says so; as text, each of its rows would be refused."""
    path = tmp_path / "stdin"
    path.write_text(text)
    assert _reading(path, None, None, Told()).kind == kind


@pytest.mark.parametrize("form", ["text", "csv", "jsonl", "changes"])
def test_what_has_no_number_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """A list that is shared as fingerprints: an empty file would look like an empty list."""
    path = tmp_path / "list"
    assert "+447700900101" in exported([NAMED, UNNAMED], form, path)
    assert "1 reports of KH/scam are known by their fingerprint alone" in capsys.readouterr().err
    path.unlink()
    with pytest.raises(typer.Exit) as ended:
        exported([UNNAMED], form, path)
    assert ended.value.exit_code == NOTHING_DONE
    assert "only the list's owner" in capsys.readouterr().err
    assert not path.exists()
    assert "+447700900101" in exported([NAMED], form, path)
    assert capsys.readouterr().err == ""
