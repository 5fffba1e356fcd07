"""A partner with nothing of ours, and a list that Ringfence publishes from its register."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from stream.core.model.agreement import Shared
from tests.support.builders import fingerprint_of
from tests.support.commands import Operator
from tests.support.exchange import LIST, Lab, lab
from tests.support.waiting import HANGS_S

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "read_a_list.py"
LISTED, LATER, NEVER = "+85523900123", "+85523900124", "+85523900999"


async def asked(at: Lab, *numbers: str) -> list[bool]:
    """Return the example's answer, run as a program that cannot import our code."""
    answers = []
    for number in numbers:
        words = [sys.executable, "-I", str(EXAMPLE), at.url, str(at.kh.root), LIST, number]
        done = await asyncio.to_thread(
            subprocess.run, words, cwd=at.folder, capture_output=True, text=True, timeout=HANGS_S
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout in {f"{number}: {text} in {LIST}\n" for text in ("listed", "not listed")}
        answers.append("not listed" not in done.stdout)
    return answers


@pytest.mark.parametrize("shares", [Shared.NUMBERS, Shared.FINGERPRINTS, Shared.FILTER])
async def test_a_partner_reads_what_we_publish(
    tmp_path: Path, urls: list[str], shares: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lists and changes after them, whatever the agreement lets us share."""
    monkeypatch.setattr("stream.exchange.edition.FILTER_EVERY_S", 0)
    async with lab(tmp_path, urls, shares) as at:
        await at.kh.add(LISTED)
        await at.kh.publishes()
        assert await asked(at, LISTED, LATER) == [True, False]
        await at.kh.add(LATER)
        await at.kh.remove(LISTED)
        await at.kh.publishes()
        assert await asked(at, LISTED, LATER, NEVER) == [False, True, False]


async def test_an_owner_explains_what_a_partner_has_only_as_a_fingerprint(
    tmp_path: Path, urls: list[str]
) -> None:
    """By the fingerprint of a partner's decision the owner finds number, source and category."""
    (tmp_path / "kh.toml").write_text(f'[redis]\nurl = "{urls[0]}"\n')
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as at:
        await at.kh.add(LISTED)
        explained = await asyncio.to_thread(explained_by_owner, tmp_path, LISTED)
        assert explained == (0, LISTED)
        assert (await asyncio.to_thread(explained_by_owner, tmp_path, NEVER))[0] == 1


def explained_by_owner(folder: Path, number: str) -> tuple[int, str | None]:
    words = ["circle", "why", LIST, f"{fingerprint_of(number):016x}", "--json"]
    done = Operator(folder / "kh.toml").invokes(*words)
    reports = done.json["reports"]
    return done.code, reports[0]["number"] if reports else None
