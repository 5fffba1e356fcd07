"""`ringfence ingest` as far as it needs no Kafka: what it would read, and what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.file_lines import LineBatch
from stream.edge.ingest.position_file import PositionFile
from stream.edge.ingest.tail import Tail

GOLDEN = Path(__file__).parents[2] / "golden" / "cdr"
SETTINGS = """
[calls.topics]
"calls.pbx" = "asterisk-csv:bkk"
"calls.pbx-2" = "freeswitch"
"calls.pbx-3" = "freeswitch"
[switches.bkk]
time_zone = "Asia/Bangkok"
[ingest]
state_dir = "{0}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SETTINGS.format(tmp_path / "places"))
    return path


def run(config: Path, *words: str):
    return CliRunner().invoke(app, ["ingest", *words, "--config", str(config)])


def test_a_dry_run_shows_what_would_be_understood_and_keeps_nothing(
    tmp_path: Path, config: Path
) -> None:
    """From the beginning, or from where the state says; a half line is reported."""
    path = tmp_path / "Master.csv"
    line = (GOLDEN / "asterisk-csv" / "newcdrcolumns" / "input.csv").read_bytes()
    path.write_bytes(line + line + line[:30])
    words = ("--dialect", "asterisk-csv", str(path), "--dry-run")
    done = run(config, *words)
    assert done.exit_code == 0
    assert "for calls.pbx: it would go on from the beginning" in done.stdout
    assert "2 records, 2 calls" in done.stdout
    assert "line 3" in done.stderr
    assert not (tmp_path / "places").exists()
    tail = Tail(path, None, 10_000, lambda _: None)
    file = tmp_path / "mine.state"
    with PositionFile(file, str(path)) as state:
        batch: LineBatch | None = None
        while (more := tail.next()) is not None:
            batch = more
        assert batch is not None
        state.keep(batch)
    tail.close()
    done = run(config, *words, "--state", str(file), "--json")
    assert done.exit_code == 1, "there is nothing new"
    assert (json.loads(done.stdout)["from_line"], json.loads(done.stdout)["records"]) == (3, 0)


def test_a_dry_run_waits_for_files_written_just_now(tmp_path: Path, config: Path) -> None:
    """A file has to rest before it is read; a dry run waits for that, as the run itself does."""
    config.write_text(config.read_text() + "look_s = 0.01\nsettle_s = 0.3\n")
    folder = tmp_path / "json_cdr"
    folder.mkdir()
    sample = next((GOLDEN / "freeswitch").glob("*/input.*"))
    (folder / "1.cdr.json").write_bytes(sample.read_bytes())
    words = ("--dialect", "freeswitch", "--topic", "calls.pbx-2", str(folder), "--dry-run")
    done = run(config, *words, "--json")
    assert (done.exit_code, json.loads(done.stdout)["records"]) == (0, 1)


def test_what_can_not_be_read_for_a_topic_is_told(tmp_path: Path, config: Path) -> None:
    """No topic, several topics, another topic, no such dialect, no zone, no file."""
    path = tmp_path / "x"
    path.write_text("{}")
    for words, said in (
        (("--dialect", "kamailio"), 'add "calls.kamailio" = "kamailio" there'),
        (("--dialect", "freeswitch"), "name one by --topic: calls.pbx-2, calls.pbx-3"),
        (("--dialect", "freeswitch", "--topic", "calls.pbx"), "there are calls.pbx-2, calls.pbx-3"),
        (("--dialect", "asterisc"), "no dialect is called 'asterisc'"),
        (("--dialect", "asterisk-custom"), "local times without a zone"),
    ):
        done = run(config, *words, str(path))
        assert isinstance(done.exception, ConfigInvalid)
        assert said in str(done.exception)
    assert run(config, "--dialect", "asterisk-csv", str(tmp_path / "none")).exit_code == 2
    assert run(config, "--dialect", "asterisk-csv", str(tmp_path), "--from-end").exit_code == 2
