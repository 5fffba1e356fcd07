"""Addresses in the settings that can never be reached, left from examples and drafts.

Names that are reserved for examples (RFC 2606) are fine in a trial. In production a blocked caller
is sent to a page that does not exist, and a number has no contact.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from stream.config.agreement_files import AgreementFolder
from stream.config.feed_files import feed_context, read_feed
from stream.config.sections import feed_paths
from stream.config.settings import InsightSettings
from stream.core.model.errors import ConfigInvalid
from stream.ops.schema import checks


def placeholders(settings: InsightSettings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield each place that still has such an address, what is wrong, and what to write there."""
    if host := checks.reserved_host(settings.policy.redress_url):
        yield (
            f"policy.redress_url: {host} does not exist, and blocked callers are sent there: "
            'write the address of your page, "https://.../{decision_id}"'
        )
    for place, contact in _contacts(settings, environ):
        if host := checks.reserved_host(contact):
            yield f'{place}: nobody can be asked: "{contact}" is at {host}, a name for examples'


def _contacts(settings: InsightSettings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield every contact for a number, with the place of the setting."""
    for owner, section in settings.owners.items():
        yield f"owners.{owner}.contact", section.contact
    folder = AgreementFolder(settings.agreements.folder())
    folder.look()
    for agreement in folder.reading.agreements.held:
        for name, party in agreement.parties.items():
            yield f"agreement {agreement.id}: parties.{name}.contact", party.contact
    if not Path(settings.feeds.dir).is_dir():
        return
    for path in feed_paths(Path(settings.feeds.dir)).values():
        try:
            feed = read_feed(path, environ, feed_context(settings)).feed
        except ConfigInvalid:
            continue  # `check-config` and `feeds` say what is wrong with it
        yield f"{path}: owner.contact", feed.contact
