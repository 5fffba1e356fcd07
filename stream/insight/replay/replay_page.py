"""A replay's report as one HTML page that needs nothing else, in the style of `insight.report`.

Jinja escapes everywhere what records say (trunks) and the names of lists. Should that ever fail, a
policy in the page lets no script run and nothing be fetched.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from stream import __version__
from stream.insight.replay.replay_json import MEANINGS
from stream.insight.report.page import environment, style
from stream.insight.report.words import country_name, many, minute_text, share

TITLES: Final = {
    "newly_blocked": "Newly blocked",
    "no_longer_blocked": "No longer blocked",
    "newly_flagged": "Newly flagged",
    "no_longer_flagged": "No longer flagged",
    "spared_by_allowlist": "Spared by the allowlist",
}
"""Titles of the kinds of change, in the order of the report."""
_TOLD: Final = {"newly_blocked": "newly blocked", "no_longer_blocked": "blocked no longer"}
_BARS: Final = {"newly_blocked": "blocked", "no_longer_blocked": "flagged"}


def page(report: Mapping[str, Any]) -> str:
    """Return the whole page of what `replay_json.told` gave."""
    templates = environment(
        "stream.insight.replay", country=_country, share=share, many=many, when=_when
    )
    return templates.get_template("replay.html").render(
        report=report,
        style=style(),
        sentences=sentences(report),
        titles=TITLES,
        bars=_BARS,
        meanings=MEANINGS,
        version=__version__,
    )


def sentences(report: Mapping[str, Any]) -> list[str]:
    """Return the answer in a few sentences; the terminal begins with them too."""
    changes = report["changes"]
    before, after = (report["verdicts"][side]["block"] for side in ("production", "candidate"))
    first = (
        f"Of {many(report['calls'], 'call')} production, as it is now, blocks {before:,} "
        f"and the candidate {after:,}."
    )
    found = [first]
    for name, words in _TOLD.items():
        calls, numbers = changes[name]["calls"], changes[name]["numbers"]
        if calls:
            found.append(f"{many(calls, 'call')} of {many(numbers, 'number')} would be {words}.")
    if not any(changes[name]["calls"] for name in TITLES):
        found.append("Nothing would change for any call.")
    guess = report["false_positives"]
    if guess["estimated"]:
        found.append(
            f"{many(guess['estimated'], 'newly blocked number')} of "
            f"{guess['newly_blocked_numbers']:,} ({share(guess['share'])}) may be blocked wrongly: "
            "people talked to them long, or called them back."
        )
    elif guess["newly_blocked_numbers"]:
        found.append("No newly blocked number shows a sign of being blocked wrongly.")
    if guess["allow_listed"]:
        found.append(
            f"The candidate also lists {many(guess['allow_listed'], 'number')} that the allowlist "
            "lets through all the same."
        )
    return found


def _country(code: str | None) -> str:
    if code is None or code == "none":
        return "withheld, or no number"
    return country_name(code) if len(code) == 2 else code


def _when(text: str) -> str:
    return minute_text(int(datetime.fromisoformat(text).timestamp()))
