"""`ringfence feeds`, as an operator types it."""

import os
from pathlib import Path

import pytest

from stream.core.model.errors import ConfigInvalid
from stream.ops.private_files import user_of
from tests.support.commands import Operator
from tests.support.feeds import HEAD, kh


class Office(Operator):
    """An operator with one feed, whose partner keeps a file."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(Operator.at(folder, url, f'[feeds]\ndir = "{folder}/feeds"\n').config)
        self.file = folder / "kh.txt"
        (folder / "feeds").mkdir()
        self.feed = folder / "feeds" / "kh-scam.toml"
        self.feed.write_text(HEAD.format(format="text", extra="", path=self.file, tail=""))

    def partner_says(self, *lines: str) -> None:
        self.file.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def office(tmp_path: Path, redis_url: str) -> Office:
    return Office(tmp_path, redis_url)


def test_from_a_file_to_a_live_list_and_back(office: Office):
    """Check says what would come, pull lets it in, held shows what waits, release lets it in."""
    office.partner_says(*kh(*range(40)), "nonsense")
    said = office.types("feeds", "check", str(office.file), "--feed", "kh-scam")
    assert "40 good rows, 1 rejected" in said
    assert "line 41: not_" in said
    assert "'nonsense'" in said
    assert "would go live" in said
    assert not office.asks("lists", "show")
    assert "no version yet" in office.types("feeds", "ls")
    assert "+40 -0 numbers" in office.types("feeds", "pull", "kh-scam")
    assert "nothing new" in office.types("feeds", "pull", "kh-scam")
    office.partner_says(*kh(*range(5)))
    said = office.types("feeds", "check", str(office.file), "--feed", "kh-scam", code=1)
    assert "0 numbers would come, 35 go" in said
    assert "held: shrunk: 35 of 40 numbers would go" in said
    office.types("feeds", "pull", "kh-scam", code=1)
    said = office.types("feeds", "held", code=1)
    version = said.partition("--version ")[2].split()[0]
    assert "held: shrunk" in office.types("feeds", "ls", code=1)
    wrong = ("feeds", "release", "kh-scam", "--reason", "x", "--version", "000000000000")
    assert f"{version} does: " in office.types(*wrong, code=1)
    release = ("feeds", "release", "kh-scam", "--reason", "he says so", "--version", version)
    assert "5 numbers at generation" in office.types(*release)
    assert office.asks("lists", "show")[0]["count"] == 5
    assert "nothing waits" in office.types("feeds", "held")
    assert "decided by" in office.types("feeds", "show", "kh-scam")
    assert "nothing waits: version" in office.types(*release, code=1)


def test_a_refused_version_and_why_it_is_shown(office: Office):
    """Refuse needs a reason, keeps it, and show tells who decided; the list stays as it was."""
    office.partner_says(*kh(*range(40)))
    office.types("feeds", "pull", "kh-scam")
    office.partner_says(*kh(1))
    office.types("feeds", "pull", "kh-scam", code=1)
    office.types("feeds", "refuse", "kh-scam", code=2)
    office.types("feeds", "refuse", "kh-scam", "--reason", "a test file", "--actor", "somchai")
    shown = office.asks("feeds", "show", "kh-scam")
    assert (shown["refused"]["by"], shown["refused"]["why"]) == ("somchai", "a test file")
    assert (shown["held"], shown["numbers"]) == (None, 40)
    told = office.types("audit")
    assert "somchai" in told


def test_a_poisoned_version_goes_and_stays_away(office: Office):
    """A rollback names the feed that would bring the version again; refused, it comes no more."""
    office.partner_says(*kh(*range(40)))
    office.types("feeds", "pull", "kh-scam")
    good = str(office.asks("lists", "show")[0]["generation"])
    office.partner_says(*kh(*range(45)))
    office.types("feeds", "pull", "kh-scam")
    roll = ("lists", "rollback", "KH/scam", good, "--reason", "poisoned")
    said = office.invokes(*roll).output
    refuse = said.partition("ringfence ")[2].split(" --reason")[0].split()
    assert refuse[:3] == ["feeds", "refuse", "kh-scam"]
    assert "until its list is rolled back" in office.types(*refuse, "--reason", "poisoned")
    assert "ringfence feeds refuse" not in office.invokes(*roll).output
    office.types("feeds", "pull", "kh-scam")
    assert office.asks("lists", "show")[0]["count"] == 40
    assert "decided by" in office.types("feeds", "show", "kh-scam")


def test_a_partner_that_is_away_is_told(office: Office):
    """A feed that cannot be had is an exit code, a word in ls, and a sentence in show."""
    said = office.types("feeds", "pull", "kh-scam", code=1)
    assert "missing" in said
    assert "down: missing" in office.types("feeds", "ls", code=1)
    assert str(office.file) in office.types("feeds", "show", "kh-scam")


def test_a_login_page_is_refused_by_its_name(office: Office):
    """HTML in place of a list is refused as what it is, and the audit says so once."""
    office.partner_says(*kh(1))
    office.types("feeds", "pull", "kh-scam")
    office.file.write_text("<!DOCTYPE html><html><body>Please log in</body></html>")
    for _ in range(2):
        assert "not_a_feed" in office.types("feeds", "pull", "kh-scam", code=1)
    refused = [e for e in office.asks("audit") if e["op"] == "feed_refused"]
    assert len(refused) == 1
    assert office.asks("lists", "show")[0]["count"] == 1


def test_a_refused_version_is_not_listed_as_ok(office: Office):
    """`ls` and its exit code say so until the source has another version; the list stays."""
    head = HEAD.format(
        format="csv", extra="", path=office.file, tail='[columns]\nnumber = "msisdn"'
    )
    office.feed.write_text(head)
    office.partner_says("msisdn", *kh(1, 2))
    office.types("feeds", "pull", "kh-scam")
    office.partner_says("number", *kh(1, 2, 3))
    office.types("feeds", "pull", "kh-scam", code=1)
    assert "refused: not_the_format" in office.types("feeds", "ls", code=1)
    office.partner_says("msisdn", *kh(1, 2))
    office.types("feeds", "pull", "kh-scam")
    assert "refused" not in office.types("feeds", "ls")
    assert office.asks("lists", "show")[0]["count"] == 2


def test_check_works_without_redis(tmp_path: Path):
    """Where the list store cannot be asked, check says so, and says all that it can."""
    office = Office(tmp_path, "redis://127.0.0.1:1/0")
    office.partner_says(*kh(1, 2))
    said = office.types("feeds", "check", str(office.file), "--feed", "kh-scam")
    assert "2 good rows" in said
    assert "not compared with a list: the list store cannot be asked" in said
    assert "would go live" in said
    office.types("feeds", "ls", code=3)


def test_mistakes_in_feed_files_are_all_told(office: Office):
    """A feed file with mistakes ends every command with file and key; an unknown feed is named."""
    with pytest.raises(ConfigInvalid, match="no feed nobody; known: kh-scam"):
        office.types("feeds", "pull", "nobody")
    office.feed.write_text('list = "KH"\n[from]\nkind = "ftp"\n')
    with pytest.raises(ConfigInvalid) as caught:
        office.types("feeds", "ls")
    for part in ("kh-scam.toml: list:", "kh-scam.toml: format: is missing", "from.kind:"):
        assert part in str(caught.value)
    with pytest.raises(ConfigInvalid, match="is missing"):
        office.types("check-config")


def test_another_user_makes_no_file_and_is_told_how_to_run_it(office: Office):
    """`feeds pull` beside a service of another user ends before anything is done."""
    office.partner_says(*kh(1))
    state = office.config.parent / "state"
    if os.geteuid():
        text = office.config.read_text()
        office.config.write_text(text.replace(f'"{state}"', '"/"'))
        state = Path("/")
    else:
        state.mkdir()
        os.chown(state, 65_534, -1)
    whose = user_of(state.stat().st_uid)
    for words in (
        ("pull", "kh-scam"),
        ("release", "kh-scam", "--reason", "x"),
        ("refuse", "kh-scam", "--reason", "x"),
        ("run",),
    ):
        said = office.types("feeds", *words, code=2)
        assert f"{state} belongs to {whose}" in said
        assert f"sudo -u {whose} " in said
        assert "Traceback" not in said
    assert state == Path("/") or not list(state.iterdir())
    assert "no version yet" in office.types("feeds", "ls")


def test_files_of_another_user_are_shown(office: Office):
    """`feeds list`, `show` and doctor name the path and its owner, for any user."""
    office.partner_says(*kh(1))
    office.types("feeds", "pull", "kh-scam")
    lock = office.config.parent / "state" / "feeds" / "kh-scam" / "fetching.lock"
    uid = 65_534
    if os.geteuid():  # only root can give a file away: let all else be another's
        pytest.skip("only root can give a file to another user")
    os.chown(lock, uid, -1)
    whose = user_of(uid)
    assert "down: state_foreign" in office.types("feeds", "ls", code=1)
    assert f"{lock} belongs to {whose}" in office.types("feeds", "show", "kh-scam")
    assert f"{lock} belongs to {whose}" in office.types("feeds", "pull", "kh-scam", code=1)
    assert f"{lock} belongs to {whose}" in office.types("doctor", code=1)


def test_a_broken_file_hides_no_other_feed(office: Office):
    """`feeds list` and `held` go on with the others, and name file and key of the broken one."""
    office.partner_says(*kh(1))
    office.types("feeds", "pull", "kh-scam")
    (office.feed.parent / "bad.toml").write_text('list = "KH/x"\n')
    done = office.invokes("feeds", "ls")
    assert isinstance(done.fault, ConfigInvalid)
    assert "bad.toml: format: is missing" in str(done.fault)
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert rows["kh-scam"].split()[4] == "1"
    assert "its file is wrong" in rows["bad"]
    done = office.invokes("feeds", "held")
    assert isinstance(done.fault, ConfigInvalid)
    assert "nothing waits" in done.out


def test_a_feed_without_a_file_is_named_and_forgotten(office: Office):
    """Its reports stay until they expire, or until somebody says otherwise; others' stay."""
    office.partner_says(*kh(1, 2))
    office.types("feeds", "pull", "kh-scam")
    office.types("lists", "add", "KH/scam", kh(2)[0], "--source", "police")
    said = office.types("feeds", "forget", "kh-scam", "--reason", "x", code=2)
    assert "has its file in" in said
    office.feed.unlink()
    said = office.types("doctor", code=1)
    assert "kh-scam has no file any more; 2 numbers of it stay on KH/scam" in said
    assert "feeds forget kh-scam" in said
    said = office.types("feeds", "forget", "kh-scam", "--reason", "another address", "--actor", "a")
    assert "KH/scam: 2 reports of kh-scam taken off" in said
    assert office.asks("lists", "show")[0]["count"] == 1
    assert "has no file any more" not in office.types("doctor", code=1)
    told = [one for one in office.asks("audit") if one["op"] == "feed_forgotten"]
    assert [(one["actor"], one["reason"]) for one in told] == [("a", "another address")]
    assert not (office.config.parent / "state" / "feeds" / "kh-scam").exists()
    office.types("feeds", "forget", "kh-scam", "--reason", "x", code=2)
    office.types("feeds", "forget", "../x", "--reason", "x", code=2)


def test_what_is_kept_of_feeds_is_private(office: Office):
    """Versions, rejected rows and reports, whatever the umask: they hold whole numbers."""
    office.partner_says(*kh(1, 2), "nonsense")
    before = os.umask(0o022)
    try:
        office.types("feeds", "pull", "kh-scam")
    finally:
        os.umask(before)
    kept = [path for path in (office.config.parent / "state").rglob("*") if path.is_file()]
    assert any("rejects" in path.name for path in kept)
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


def test_two_feeds_of_one_file_and_list_are_named(office: Office):
    """A renamed feed file leaves a copy behind: both report the same numbers for ever."""
    office.partner_says(*kh(1))
    (office.feed.parent / "kh-new.toml").write_text(office.feed.read_text())
    said = office.types("doctor", code=1)
    assert f"kh-new and kh-scam fill KH/scam from the same place, {office.file}" in said


def test_what_waited_for_another_list_is_not_released(office: Office):
    """A person's word was said of what the file said then."""
    office.feed.write_text(office.feed.read_text().replace("[owner]", 'may_list = ["TH"]\n[owner]'))
    office.partner_says(*kh(1))
    office.types("feeds", "pull", "kh-scam", code=1)
    office.feed.write_text(office.feed.read_text().replace("KH/scam", "KH/other"))
    said = office.types("feeds", "release", "kh-scam", "--reason", "x", code=1)
    assert "has changed since version" in said
    assert "feeds pull kh-scam" in said


def test_a_list_that_a_feed_fills_is_filled_anew_after_it_was_deleted(office: Office):
    """Deleting names the feed and needs --force; the same bytes are no "nothing new" then."""
    office.partner_says(*kh(1, 2))
    office.types("feeds", "pull", "kh-scam")
    said = office.types("lists", "delete", "KH/scam", "--reason", "x", code=1)
    assert "feed kh-scam fills KH/scam" in said
    office.types("lists", "delete", "KH/scam", "--reason", "x", "--force")
    assert office.asks("lists", "show") == []
    assert "+2 -0 numbers" in office.types("feeds", "pull", "kh-scam")
    assert office.asks("lists", "show")[0]["count"] == 2
