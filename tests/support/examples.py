"""The number of examples that a property tries."""

from hypothesis import settings

_USUAL = 50
"""Examples of a property in `make test`, as tests/conftest.py has it."""


def examples(count: int) -> settings:
    """Return settings for `count` examples in `make test`, ten times as many in the campaign."""
    profile = settings.default
    assert profile is not None, "conftest.py loads one"
    return settings(max_examples=count * profile.max_examples // _USUAL)
