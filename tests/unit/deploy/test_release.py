"""A release is made of what the changelog says."""

import pytest

from tests.tools.release.__main__ import notes
from tests.tools.release.programs import BuildFailed

CHANGELOG = """\
# Changelog

## Unreleased
{}
## 0.2.0 (2026-12-24)

### Added
- a

## 0.1.0 (2026-11-27)
- b
"""


def test_the_notes_are_the_versions_section() -> None:
    """Neither the older sections nor the empty one above it."""
    assert notes(CHANGELOG.format(""), "0.2.0") == "### Added\n- a\n"


@pytest.mark.parametrize(
    ("news", "version", "why"),
    [("", "0.3.0", "has no section 0.3.0"), ("\n- c\n", "0.2.0", "move what is under Unreleased")],
)
def test_a_changelog_that_is_behind_ends_it(news: str, version: str, why: str) -> None:
    """Before anything is built."""
    with pytest.raises(BuildFailed, match=why):
        notes(CHANGELOG.format(news), version)
