"""From a file to a live list as a newcomer goes: detect, complete, check, pull, on a real Redis.

Nobody may be listed who is not a suspect in the file, however a newcomer answers: by the proposal,
by the right answer, or by a draft that is not completed.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from stream.core.model.errors import ConfigInvalid
from tests.support.commands import Operator
from tests.support.detect_corpus import Case, feed_cases

CASES = feed_cases()
EACH = 5
"""`make test` plays one case of so many, and those that are held. `test_detect_corpus.py` has each
case without a list store."""
COMPLETED = (
    ("XX/partner", "{owner}/national"),
    ('name = "XX"', 'name = "{owner}"'),
    ("abuse@example.org", "scam@police.example"),
)
LINE = re.compile(r"(\+\d+\*?),")


class Newcomer(Operator):
    """Somebody with a file and an empty list store."""

    def __init__(self, folder: Path, url: str, home: str) -> None:
        more = f'[feeds]\ndir = "{folder}/feeds"\n[calls]\nhome_country = "{home}"\n'
        super().__init__(Operator.at(folder, url, more).config)
        (folder / "feeds").mkdir()
        self.feed = folder / "feeds" / "partner.toml"

    def drafts(self, file: Path, *answer: str, code: int = 0) -> str:
        """Keep what detect prints as the feed's file."""
        said = self.types("feeds", "detect", str(file), *answer, code=code)
        self.feed.write_text(said)
        return said

    def completes(self, owner: str) -> None:
        text = self.feed.read_text()
        for left, written in COMPLETED:
            text = text.replace(left, written.format(owner=owner))
        # Old reports are as good as new ones here.
        self.feed.write_text(f'expires_in = "3650d"\n{text}')

    def pulls(self) -> str:
        """Pull, whatever comes of it; "" where the feed's file is refused."""
        done = self.invokes("feeds", "pull", "partner")
        if isinstance(done.fault, ConfigInvalid):
            return ""
        assert done.code in {0, 1}, done.output
        return done.output

    def listed(self) -> set[str]:
        """Every number of every list."""
        found = set()
        for one in self.asks("lists", "show"):
            found |= set(LINE.findall(self.types("lists", "export", one["list"])))
        return found


@pytest.fixture
def newcomer(case: Case, tmp_path: Path, redis_url: str) -> Newcomer:
    return Newcomer(tmp_path, redis_url, case.expected.get("home", "TH"))


def played(number: int, case: Case) -> Any:
    """Return a case as a parameter: `make campaign` plays those that `make test` leaves out."""
    always = number % EACH == 0 or "held" in case.expected
    return pytest.param(case, id=case.name, marks=() if always else pytest.mark.campaign)


@pytest.mark.parametrize("case", [played(*one) for one in enumerate(CASES)])
def test_only_suspects_go_live(case: Case, newcomer: Newcomer) -> None:
    """A draft blocks nobody; completed, and answered rightly, exactly the suspects are listed."""
    expected = case.expected
    wanted, owner = set(expected["numbers"]), expected.get("owner", "TH")
    codes = {"proposal": 0, "question": 1, "nothing": 1, "unreadable": 2}
    newcomer.drafts(case.path, code=codes[expected["expect"]])
    assert newcomer.pulls() == ""
    newcomer.completes(owner)
    if expected["expect"] != "proposal":
        assert newcomer.pulls() == ""  # a question that nobody answered
        assert newcomer.listed() == set()
    if case.answer:
        newcomer.drafts(case.path, *case.answer)
        newcomer.completes(owner)
    if expected["expect"] != "proposal" and not case.answer:
        return
    said = newcomer.pulls()
    if "held" in expected:
        assert f"held: {expected['held']}" in said
        assert newcomer.listed() == set()
        if expected["live"]:
            newcomer.types("feeds", "release", "partner", "--reason", "the police say so")
    assert newcomer.listed() == (wanted if expected.get("live", True) else set())
