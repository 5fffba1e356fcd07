"""The page of versions says what `make matrix` knows and ran, and the runs take every version."""

from tests.tools.matrix.__main__ import KNOWN, runs
from tests.tools.matrix.table import PAGE, block, read
from tests.tools.matrix.versions import BASE, MAIN, ROOT, VERSIONS


def test_the_table_has_the_tools_versions_and_subjects() -> None:
    """A version that is added to the tool, or to the page alone, is noticed here."""
    rows = read()
    assert rows.keys() <= KNOWN.keys()
    assert block(rows) in PAGE.read_text()
    for row in rows.values():
        assert f"{row.full}.".startswith(f"{KNOWN[row.name].number}."), row
        assert int(row.passed) > 0


def test_every_version_has_a_run_and_every_test_is_there() -> None:
    """One version at a time is another than usual, so a failure has one cause."""
    tried = [[one.name for one in versions] for versions in runs([])]
    assert {name for names in tried for name in names} == {one.name for one in VERSIONS}
    assert tried[0] == list(BASE)
    assert all(len(set(names) - set(BASE)) == 1 for names in tried[1:])
    assert [path for paths in MAIN.values() for path in paths if not (ROOT / path).exists()] == []
