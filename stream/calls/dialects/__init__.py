"""Dialects: how one kind of switch writes a call. A file for each vendor, with tables of fields.

To add one, write a table in a module here (`json_form`, `csv_form`), or a class that keeps the
promises of `dialect.Dialect`. Add a line in `KNOWN`, and samples with the expected result under
tests/golden/cdr/<dialect>/.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.calls.dialects import (
    asterisk,
    freeswitch,
    platforms,
    sip_proxies,
    threegpp,
    vendor_tables,
)
from stream.calls.dialects.csv_form import CsvDialect, CsvForm
from stream.calls.dialects.dialect import UNSET, Dialect, SwitchSettings
from stream.calls.dialects.flat_form import FlatDialect, FlatForm
from stream.calls.dialects.freeswitch_xml import freeswitch_xml
from stream.calls.dialects.json_form import JsonDialect, JsonForm
from stream.calls.dialects.mapping import Mappings, mapped
from stream.calls.dialects.radius import RADIUS
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.submitted_records import Framing

Make = Callable[[str, SwitchSettings], Dialect]


@dataclass(frozen=True, slots=True)
class KnownDialect:
    """One dialect: its records in a few words, and whether its times are local ones.

    `own_ids`: the switch makes the ids of calls. Else they come from the caller (a SIP Call-ID), or
    their source is unknown, and one id may stand for many calls. `framing`: the end of a record in
    its files.
    """

    what: str
    make: Make
    local_times: bool = False
    own_ids: bool = False
    framing: Framing = Framing.LINES


def _json(what: str, form: JsonForm, *, own_ids: bool = False) -> KnownDialect:
    return KnownDialect(
        what, lambda name, switch: JsonDialect(name, form, switch), form.local_times, own_ids
    )


def _table(name: str) -> KnownDialect:
    what, table = vendor_tables.TABLES[name]
    return KnownDialect(
        what,
        lambda name, switch: vendor_tables.for_switch(name, table, switch),
        local_times=vendor_tables.is_local(table),
        own_ids=True,
    )


def _csv(what: str, form: CsvForm) -> KnownDialect:
    return KnownDialect(
        what, lambda name, switch: CsvDialect(name, form, switch), local_times=True, own_ids=True
    )


def _flat(
    what: str,
    form: FlatForm,
    *,
    local_times: bool = False,
    own_ids: bool = False,
    framing: Framing = Framing.LINES,
) -> KnownDialect:
    return KnownDialect(
        what, lambda name, switch: FlatDialect(name, form, switch), local_times, own_ids, framing
    )


KNOWN: Mapping[str, KnownDialect] = {
    RINGFENCE.name: KnownDialect("our own JSON", lambda _name, _switch: RINGFENCE),
    # FreeSWITCH's ids are the caller's with inbound-use-callid-as-uuid; then it refuses a second
    # call with the same while the first lasts.
    "freeswitch": KnownDialect(
        "FreeSWITCH mod_json_cdr: file or POST body", freeswitch.FreeSwitch, own_ids=True
    ),
    "freeswitch-xml": KnownDialect(
        "FreeSWITCH mod_xml_cdr (FusionPBX): file or POST body",
        freeswitch_xml,
        own_ids=True,
        framing=Framing.XML,
    ),
    "freeswitch-events": _json("FreeSWITCH mod_event_kafka", freeswitch.EVENTS, own_ids=True),
    "freeswitch-csv": _csv("FreeSWITCH mod_cdr_csv, template example", freeswitch.CSV),
    "asterisk-csv": _csv("Asterisk Master.csv", asterisk.MASTER_CSV),
    "asterisk-custom": _csv("Asterisk cdr_custom, the sample's columns", asterisk.CUSTOM_CSV),
    "asterisk-ami": _json("Asterisk AMI Cdr event, cdr_beanstalkd", asterisk.AMI, own_ids=True),
    "asterisk-kafka": _json(
        "Asterisk asterisk_cdr topic, cdr_custom JSON", asterisk.KAFKA, own_ids=True
    ),
    "asterisk-ami-text": _flat(
        "Asterisk AMI as text: events Cdr and CEL",
        asterisk.AMI_TEXT,
        local_times=True,
        own_ids=True,
        framing=Framing.BLOCKS,
    ),
    "asterisk-cel": _flat(
        "Asterisk CEL: cel_custom CSV, JSON, AMI JSON", asterisk.CEL, local_times=True, own_ids=True
    ),
    "freepbx": _flat(
        "FreePBX rows of cdr as JSON, with calldate",
        asterisk.FREEPBX,
        local_times=True,
        own_ids=True,
    ),
    "asterisk-vsgroup": _json("Asterisk cdr_kafka of vsgroup", asterisk.VSGROUP, own_ids=True),
    "kamailio": _json("Kamailio acc_json, CDRs, attempts", sip_proxies.KAMAILIO),
    "opensips": _json("OpenSIPS E_ACC_* by event_kafka", sip_proxies.OPENSIPS),
    "radius": _flat("RADIUS accounting: detail, JSON", RADIUS, framing=Framing.BLOCKS),
    "cgrates": _json("CGRateS CDRs as JSON", platforms.CGRATES),
    "kazoo": _flat("Kazoo CDRs and webhooks as JSON", platforms.KAZOO),
    **{name: _table(name) for name in vendor_tables.TABLES},
    "3gpp": KnownDialect("3GPP TS 32.298 as JSON: MO, MT, gateways, IMS", threegpp.ThreeGpp),
    "3gpp-ber": KnownDialect(
        "3GPP TS 32.298 and TAP3 in BER", threegpp.ThreeGppBer, framing=Framing.BER
    ),
}


def framing_in(name: str) -> Framing:
    """Return the end of a record in files of the dialect `name`."""
    kind = name.partition(":")[0]
    return KNOWN[kind].framing if kind in KNOWN else Framing.LINES


def has_own_ids(name: str) -> bool:
    """Return whether the ids in records of the dialect `name` are the switch's own."""
    kind = name.removeprefix("registry:").partition(":")[0]
    return kind in KNOWN and KNOWN[kind].own_ids


def dialect_named(
    name: str, mappings: Mappings, switches: Mapping[str, SwitchSettings] | None = None
) -> Dialect:
    """Return the dialect that the configuration calls `name`.

    `mapping:<one of mappings>`, a known one, or `<a known one>:<one of switches>`. Raises
    ValueError if there is no dialect of that name, and names the known ones. Raises it too if its
    times are local and no zone is set.
    """
    kind, _, which = name.partition(":")
    if kind == "mapping":
        return mapped(name, which, mappings)
    if kind not in KNOWN:
        known = ", ".join([*KNOWN, "mapping:<name>", "registry:<one of them>"])
        raise ValueError(f"no dialect is called {name!r}; there are {known}")
    switch = UNSET
    if which:
        if kind == RINGFENCE.name:
            raise ValueError(
                "the dialect ringfence says all by itself: leave the switch's name out"
            )
        if which not in (switches or {}):
            there = ", ".join(switches or {}) or "there is none"
            raise ValueError(f"names no table [switches.{which}]; known: {there}")
        switch = (switches or {})[which]
    if KNOWN[kind].local_times and not switch.time_zone:
        table = f"[switches.{which or 'NAME'}]"
        raise ValueError(
            f"{kind} has local times without a zone: say which it is in {table}, "
            f'time_zone = "Asia/Bangkok", and name it here: "{kind}:{which or "NAME"}"'
        )
    return KNOWN[kind].make(name, switch)
