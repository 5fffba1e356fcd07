"""The reference of feed files and agreement files, from the dataclasses that read them."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from stream.config.agreement_files import AgreementFile
from stream.config.feed_files import FeedFile
from stream.feeds.feed_sources import KINDS, shape_of
from stream.feeds.transports.http_get import LoginSettings, TlsSettings
from tests.tools.docs.markdown import code, escaped, fenced, page, table
from tests.tools.docs.settings import ROOT, known, rows

_HEADER = ("key", "value", "default", "meaning")


def feed_files_page() -> str:
    """Every key of a feed file, each transport's `[from]`, and the examples."""
    said = known()
    parts = [
        [
            "A feed file, `<[feeds] dir>/<name>.toml`, describes the source of a partner's list,",
            "its format and its limits. The file's name is the feed's name.",
            "How to connect one: [Connect a feed](../how-to/feeds/index.md).",
            "",
        ],
        _table("The feed", said, "feed", FeedFile),
    ]
    for name, shape in _inner(FeedFile):
        parts.append(_table(f"[{name}]", said, f"feed.{name}", shape))
    parts += (
        _table(f'[from] kind = "{kind}"', said, f"from.{kind}", shape_of(kind)) for kind in KINDS
    )
    parts.append(_table("[from] login", said, "from.login", LoginSettings))
    parts.append(_table("[from] tls", said, "from.tls", TlsSettings))
    return page("Feed files", *parts, _examples("config/feeds"))


def agreement_files_page() -> str:
    """Every key of an agreement file, and the examples."""
    said = known()
    parts = [
        [
            "An agreement file, `<[agreements] dir>/<id>.toml`, says who the parties are, which",
            "lists they share, and what a list may cause. The file's name is the agreement's id.",
            "How to use them: [Agreements](../how-to/agreements.md).",
            "",
        ],
        _table("The agreement", said, "agreement", AgreementFile),
    ]
    for name, shape in _inner(AgreementFile):
        if name != "lists":
            key = _key(name)
            parts.append(_table(f"[{key}]", said, f"agreement.{key}", shape))
    return page("Agreement files", *parts, _examples("config/agreements"))


def _inner(shape: Any) -> Iterator[tuple[str, Any]]:
    """The tables inside a file, by name."""
    for name, kind in get_type_hints(shape).items():
        inner = get_args(kind)
        parts = [kind] if not inner else inner[1:] if get_origin(kind) is dict else inner
        for one in parts:
            if is_dataclass(one):
                yield name, one


def _table(title: str, said: dict[str, str], key: str, shape: Any) -> list[str]:
    about = said.get(f"{key}.about", "")
    found = list(rows(shape, said, tuple(key.split(".")), {}))
    return [f"## {title}", "", *([escaped(about), ""] if about else []), *table(_HEADER, found)]


def _examples(folder: str) -> list[str]:
    lines = ["## Examples", ""]
    for path in sorted((ROOT / folder).glob("*.toml")):
        lines += [f"### {code(f'{folder}/{path.name}')}", "", *fenced("toml", path.read_text())]
    return lines


def _key(name: str) -> str:
    return "parties.<name>" if name == "parties" else name


def shapes() -> Iterator[tuple[str, Any]]:
    """Each table that this page describes, by the key of its meanings."""
    yield "feed", FeedFile
    yield from ((f"feed.{name}", shape) for name, shape in _inner(FeedFile))
    yield "agreement", AgreementFile
    for name, shape in _inner(AgreementFile):
        if name != "lists":
            yield f"agreement.{_key(name)}", shape
    yield from ((f"from.{kind}", shape_of(kind)) for kind in KINDS)
    yield from (("from.login", LoginSettings), ("from.tls", TlsSettings))
