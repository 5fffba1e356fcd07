"""Reference pages of closed lists: metrics, alerts, file formats, keys in Redis."""

import inspect
import re
from enum import Enum
from typing import get_args

from stream.calls.dialects import KNOWN
from stream.core.filters.snapshot import COLUMNS, FORMAT
from stream.core.model.call import RejectReason
from stream.core.model.entry import Category
from stream.core.model.errors import FeedFault
from stream.edge.sinks import proxy_keys
from stream.feeds.formats.rows import Format
from stream.feeds.gate import GateReason
from stream.lists.snapshot import repository_layout
from stream.lists.store import redis_keys as register_keys
from tests.support.chart import services
from tests.support.promql import alerts
from tests.tools.docs.markdown import code, escaped, fenced, page, table
from tests.tools.docs.settings import ROOT
from tests.tools.write_metrics import table as metrics_table

FORMATS = {
    "text": "one number in each line; `#` begins a comment; prefixes (`+8552390*`) and ranges too",
    "csv": "with or without a header, any delimiter, UTF-8 or UTF-16; `[columns]` maps it",
    "workbook": "a sheet of an XLSX, XLS or ODS file; `sheet` names it, `[columns]` maps it",
    "json": "an array of objects or numbers, bare or wrapped; `items` is its path",
    "xml": "one element for each number; `items` is their path, `[columns]` maps their content",
    "jsonl": "one object in each line; `[columns]` maps paths of keys",
    "pybloom": "a bare pybloom-live file: its matches stay unconfirmed, so it needs its own list",
    "misp": "events of a MISP instance",
    "misp-feed": "a MISP feed's folder, as an archive or a folder",
    "stix": "STIX 2.1 indicators and observables with phone numbers, in the form of OpenCTI",
    "phoneblock": "PhoneBlock's blocklist API",
    "ftc": "the FTC's Do Not Call complaints",
    "ringfence": "another Ringfence's change file (`lists export --format changes`)",
    "snapshot": "a list in a signed repository: numbers, fingerprints with a filter, or a filter",
}
COLUMN_MEANINGS = {
    "fingerprint": "the last 8 bytes of the number's digest, in the list's circle; sorted",
    "number": "the digits of the number; 0 if only fingerprints are shared",
    "reported_at": "seconds since the epoch; 0: unknown",
    "expires_at": "seconds since the epoch; 0: until it is removed",
    "category": "one of the categories below, by its value",
    "confidence": "0 to 100",
    "source": "an index into the manifest's table of sources",
}


def metrics_page() -> str:
    """The catalogue of metrics, with the introduction of deploy/METRICS.md."""
    text = (ROOT / "deploy/METRICS.md").read_text()
    intro = text.partition("<!-- written by")[0].removeprefix("# Metrics\n")
    return page("Metrics", [intro.strip(), ""], metrics_table())


def alerts_page() -> str:
    """Every alert with the heading of the runbook that says what to do."""
    rows = [
        (
            f"[{name}](runbook.md#{name.lower()})",
            rule["labels"]["severity"],
            escaped(rule["annotations"]["feels"]),
            code(str(rule.get("for", "at once"))),
        )
        for name, rule in alerts().items()
    ]
    return page(
        "Alerts",
        [
            "The alerts of `deploy/prometheus`. `page`: wake somebody; `ticket`: somebody looks",
            "today. Each name links to its part of the [runbook](runbook.md).",
            "",
        ],
        table(("alert", "severity", "effect on callers", "after"), rows),
        ["## Expressions", ""],
        *([f"**{name}**", "", *fenced("text", rule["expr"])] for name, rule in alerts().items()),
    )


def rights_page() -> str:
    """The rights of each service in Kafka, from the chart's table: a test gives it no more."""
    rows = [
        (
            code(f"ringfence {' '.join(about['command'])}") if place == 0 else "",
            f"{right['of']} {code(right['name'])}",
            ", ".join(right["may"]),
        )
        for about in services().values()
        for place, right in enumerate(about.get("kafka", ()))
    ]
    return page(
        "Rights in Kafka",
        [
            "The rights that each process needs if brokers check them (`StandardAuthorizer`, or",
            "the rights of a hosted Kafka). Other processes do not connect to Kafka.",
            "",
        ],
        table(("process", "on", "may"), rows),
        [
            "- `{calls}` is each topic of `[calls.topics]`; `{decisions}` and `{rejected}` are of",
            "  `[calls]`, `{undelivered}` of `[sinks.webhooks]`. `{feeds}`: each topic of a feed.",
            "- `{group}` is `[calls] group_id`, `{redis group}` is `[sinks.redis] group_id`, or",
            "  `{group}.redis`. A `*` at the end means a prefix of names.",
            '- `transactionalId` is needed only with `delivery = "exactly_once"`.',
            "- The [Helm chart](../how-to/operate/kubernetes.md) creates a `KafkaUser` for each.",
        ],
    )


def runbook_page() -> str:
    """The runbook as it is; its own headings are its anchors."""
    return (ROOT / "deploy/RUNBOOK.md").read_text()


def formats_page() -> str:
    """Files: dialects of call records, formats of feeds, snapshots, repositories."""
    assert set(FORMATS) == set(get_args(Format))
    assert set(COLUMN_MEANINGS) == {column.name for column in COLUMNS}
    return page(
        "File formats",
        ["## Dialects of call records", ""],
        table(
            ("dialect", "what it reads", "needs a time zone"),
            [(code(name), escaped(one.what), _yes(one.local_times)) for name, one in KNOWN.items()],
        ),
        [
            "`mapping:<name>` reads others with a table: [settings](#settings-mappings-name).",
            "",
            "(feed-formats)=",
            "## Formats of feeds",
            "",
        ],
        table(("format", "what"), [(code(name), text) for name, text in FORMATS.items()]),
        ["## Categories", "", *_enum(Category, "label"), ""],
        _snapshot(),
        ["## A published list", "", *fenced("text", _drawn(repository_layout.__doc__)), ""],
        ["## Reasons", "", "### Records that are not calls", "", *_enum(RejectReason), ""],
        ["### Versions that the gate held or refused", "", *_enum(GateReason), ""],
        ["### Failed fetches of feeds", "", *_enum(FeedFault), ""],
    )


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _enum(kind: type[Enum], label: str = "value") -> list[str]:
    return [", ".join(code(str(getattr(one, label))) for one in kind) + "."]


def _snapshot() -> list[str]:
    rows = [(code(one.name), code(str(one.dtype)), COLUMN_MEANINGS[one.name]) for one in COLUMNS]
    return [
        "## A snapshot",
        "",
        f"A list at one generation, format {FORMAT}: `manifest.json` ([schema](records.md)),",
        "`filter.bloom` (a pybloom-live file), and one raw little-endian file for each column.",
        "The manifest has the size and SHA-256 of each part, and its own.",
        "",
        *table(("column", "type", "holds"), rows),
    ]


def _drawn(text: str | None) -> str:
    """The indented part of a docstring: a drawing."""
    lines = inspect.cleandoc(text or "").splitlines()
    return "\n".join(line[4:] for line in lines if line.startswith("    "))


def redis_page() -> str:
    """Keys in Redis, from the modules that name them."""
    return page(
        "Keys in Redis",
        [
            "## The list store",
            "",
            "All keys of the list store begin with `rf:`. Only Ringfence writes them.",
            "",
            *_table_in(register_keys.__doc__),
            "",
            "## Keys for SIP proxies",
            "",
            "A separate contract: proxies read these keys, `ringfence sink redis` writes them.",
            "",
            *_table_in(proxy_keys.__doc__),
            "",
            "Fields of a number's or prefix's key: "
            + ", ".join(map(code, proxy_keys.FIELDS))
            + ". How a proxy asks: [Keys for SIP proxies](../how-to/sinks/redis.md).",
            "",
        ],
    )


def _table_in(text: str | None) -> list[str]:
    found = [line for line in inspect.cleandoc(text or "").splitlines() if line.startswith("|")]
    return [re.sub(r"; see `[^`]*`|, see `[^`]*`|: see `FIELDS`", "", line) for line in found]
