"""OwnCommands that a page runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stream.edge.http.api.commands import OwnCommands
from stream.lists.store.heads import By

NUMBER = "+447700900123"
_SPY = """#!/bin/sh
tr '\\0' ' ' < "/proc/$$/cmdline" > "{seen}.argv"
tr '\\0' '\\n' < "/proc/$$/environ" > "{seen}.environ"
cat > "{seen}.stdin"
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program that runs in the place of Python writes what it was given."""
    program = tmp_path / "sh"  # which every machine has
    program.write_text(_SPY.format(seen=tmp_path / "seen"))
    program.chmod(0o700)
    monkeypatch.setattr(
        "stream.edge.http.api.commands.sys", SimpleNamespace(executable=str(program))
    )
    return tmp_path / "seen"


async def test_no_number_and_no_reason_in_a_process_s_arguments(seen: Path):
    """Everybody on the machine reads argv: it names the command, and the rest goes by a pipe."""
    words = ["lists", "add", "TH/national", NUMBER, "--category=parcel"]
    ran = await OwnCommands(["--config=carrier.toml"]).change(
        words, By("somchai", "a widow called")
    )
    assert ran.code == 0
    argv = seen.with_suffix(".argv").read_text()
    assert "-m stream lists add" in argv
    given = seen.with_suffix(".stdin").read_text()
    for secret in (NUMBER, "somchai", "a widow called"):
        assert secret not in argv
        assert secret not in seen.with_suffix(".environ").read_text()
        assert secret in given


async def test_a_look_asks_by_a_pipe_too(seen: Path):
    """`why` of a number that a viewer typed."""
    await OwnCommands().look(["why", "--json", "--history", NUMBER])
    assert NUMBER not in seen.with_suffix(".argv").read_text()
    assert NUMBER in seen.with_suffix(".stdin").read_text()


async def test_the_command_reads_them(tmp_path: Path):
    """The real one does what its stdin says."""
    missing = tmp_path / "missing.toml"
    ran = await OwnCommands().look(["check-config", f"--config={missing}"])
    assert ran.code == 2
    assert str(missing) in ran.said
