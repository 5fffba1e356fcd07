"""3GPP TS 32.298 charging records of mobile networks, decoded to JSON with the names of its ASN.1.

Source: TS 32.298 (CSChargingDataTypes, IMSChargingDataTypes); sigscale/cgf `priv/schema`, whose
wrappers `Bx_moCall`... and `PartyAddress{natureOfAddress, numberingPlan, address}` these are; the
form {digits, ton, npi} is InovaFiscaliza/teleparser's. A record lies under one of `RECORDS`' keys.

    moCall            callingNumber, else servedMSISDN -> calledNumber
    mtCall            callingNumber -> servedMSISDN
    incGateway        callingNumber -> calledNumber, by mscIncomingTKGP: what comes from abroad
    IMS (sCSCF, mgcf, as, ibcf...)  list-Of-Calling-Party-Address -> called-Party-Address

In BER (dialect `3gpp-ber`) a record becomes that JSON, by its tags (TS 32.298; TS 24.008 10.5.4 for
numbers). So do calls of TAP3 (GSMA TD.57, TAP-0312). Vendors add members and leave out the outer
choice: a record that is a set of its own says its kind by `recordType`.

The type of number decides: `international` gets its `+`, any other is read as dialled in the
trunk's country. A served MSISDN is international (TS 23.003). A call's id is networkCallReference,
which all its records share, or else what its exchange calls it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import (
    Details,
    FieldLayout,
    NoCall,
    RecordField,
    Step,
    SwitchSettings,
    Transcoded,
    Value,
)
from stream.calls.dialects.json_form import Members
from stream.core.model.ber import (
    Damaged,
    Element,
    characters,
    elements,
    integer,
    octets,
    plain_bytes,
    tbcd_digits,
    whole_element,
)
from stream.core.model.call import RejectReason, Stage
from stream.core.numbers.parties import party_of

_CS = {"mo": "moCall", "mt": "mtCall", "inc": "incGateway", "out": "outGateway"}
_IMS = ("sCSCF", "sSCF", "pCSCF", "iCSCF", "mgcf", "bgcf", "as", "eCSCF", "ibcf", "trf", "atcf")
_OTHER = ("moSMS", "mtSMS", "ssAction", "mrfc")
RECORDS: Mapping[str, str] = {
    **{f"Bx_{name}": kind for kind, name in _CS.items()},
    **{f"{name}Record": kind for kind, name in _CS.items()},
    **{f"Bx_{name}": "ims" for name in _IMS},
    **{f"{name}Record": "ims" for name in _IMS},
    **{f"Bx_{name}": "other" for name in _OTHER},
    **{f"{name}Record": "other" for name in _OTHER},
}
_HELP = "a record lies under Bx_moCall, Bx_mtCall, Bx_incGateway or an IMS node's name, e.g. Bx_as"
_STARTS = ("seizureTime", "answerTime", "serviceRequestTimeStamp", "serviceDeliveryStartTimeStamp")
_BCD_TIME = re.compile(r"(\d{10})(\d\d)([+-]|2[bBdD])(\d\d)(\d\d)")
_INTERNATIONAL = ("international", 1, "1")
_NATURE = (str, int)


class _Address(msgspec.Struct, gc=False):
    """A PartyAddress: {natureOfAddress, address}, or teleparser's {ton, digits}."""

    address: Any = None
    digits: Any = None
    nature: Any = msgspec.field(default=msgspec.UNSET, name="natureOfAddress")
    ton: Any = None


class _Group(msgspec.Struct, gc=False):
    """A trunk group."""

    name: Any = msgspec.field(default=None, name="tkgpName")
    number: Any = msgspec.field(default=None, name="tkgpNumber")


class _Involved(msgspec.Struct, gc=False):
    """An InvolvedParty of IMS: a SIP or tel URI, a URN (of an emergency call), or E.164."""

    tel: Any = msgspec.field(default=None, name="tEL-URI")
    sip: Any = msgspec.field(default=None, name="sIP-URI")
    urn: Any = msgspec.field(default=None, name="uRN")
    number: Any = msgspec.field(default=None, name="iSDN-E164")


_Party = _Involved | str | None


class _Parties(msgspec.Struct, gc=False):
    """The members that deciding needs, of a record of any kind; None: null or not there."""

    network: Any = msgspec.field(default=None, name="networkCallReference")
    own: Any = msgspec.field(default=None, name="callReference")
    exchange: _Address | str | int | None = msgspec.field(default=None, name="recordingEntity")
    ims: Any = msgspec.field(default=None, name="iMS-Charging-Identifier")
    session: Any = msgspec.field(default=None, name="session-Id")
    method: Any = msgspec.field(default=None, name="sIP-Method")
    calling: _Address | str | int | None = msgspec.field(default=None, name="callingNumber")
    called: _Address | str | int | None = msgspec.field(default=None, name="calledNumber")
    served: _Address | str | int | None = msgspec.field(default=None, name="servedMSISDN")
    calling_list: list[_Party] | _Party = msgspec.field(
        default=None, name="list-Of-Calling-Party-Address"
    )
    called_party: _Party = msgspec.field(default=None, name="called-Party-Address")
    group: _Group | str | int | None = msgspec.field(default=None, name="mscIncomingTKGP")


_decode = msgspec.json.Decoder(dict[str, _Parties]).decode
_OBJECTS: Mapping[str, type[msgspec.Struct]] = {
    **dict.fromkeys(("exchange", "calling", "called", "served"), _Address), "group": _Group,
    **dict.fromkeys(("calling_list", "called_party"), _Involved),
}  # fmt: skip


def _names(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the JSON key of each field."""
    return {field.name: field.encode_name for field in msgspec.structs.fields(kind)}


_NAMES: Mapping[type[msgspec.Struct], Mapping[str, str]] = {
    kind: _names(kind) for kind in (_Parties, _Address, _Group, _Involved)
}


def _parties_of(record: Members) -> _Parties:
    """Read each member by itself, in objects too: one that cannot be read hides no other.

    A member that nobody wants is not read at all, as by `_decode`.
    """
    return _Parties(**{
        name: _member(record[key], _OBJECTS[name]) if name in _OBJECTS else fields.read(record[key])
        for name, key in _NAMES[_Parties].items() if key in record
    })  # fmt: skip


def _member(raw: msgspec.Raw, kind: type[msgspec.Struct]) -> Any:
    """Read a member that is an object of `kind`, an array of them, or something plain."""
    inside = fields.items(raw)
    return [_object(one, kind) for one in inside] if inside else _object(raw, kind)


def _object(raw: msgspec.Raw, kind: type[msgspec.Struct]) -> Any:
    within = fields.members(raw)
    if not within:
        return fields.read(raw)
    held = _NAMES[kind].items()
    return kind(**{name: fields.read(within[key]) for name, key in held if key in within})


class ThreeGpp:
    """The dialect `3gpp`."""

    json_keys = ()  # a record's kind decides which keys it has

    def __init__(self, name: str, switch: SwitchSettings) -> None:
        self.name = name
        self.layout = _layout(switch.trunk)
        self._zone = switch.zone
        self._constant = switch.trunk or None

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        try:
            around = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            around = {}
        for name, parties in around.items():
            kind = RECORDS.get(name)
            if kind is not None and kind != "other" and parties.method in (None, "INVITE"):
                return self._key_fields(parties, kind)
            if kind is not None:
                break
        # Something is not as it usually is; what, is said there.
        record, kind = _record(value)
        return self._key_fields(_parties_of(record), kind)

    def _key_fields(self, record: _Parties, kind: str) -> KeyFields:
        call_id = _call_id(record)
        if call_id is None:
            names = "networkCallReference, callReference and iMS-Charging-Identifier"
            raise NoCall(RejectReason.MISSING_FIELD, f"{names} missing: one of them names the call")
        caller, callee = _parties(record, kind)
        if callee is None:
            place = "servedMSISDN" if kind == "mt" else _CALLED[kind == "ims"]
            raise NoCall(RejectReason.MISSING_FIELD, f"{place} missing: it is the number called")
        return KeyFields(call_id, caller, callee, self._constant or _trunk(record))

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        record = _within(value)
        return Details(
            started_at_s=self._started(record),
            stage=Stage.END,
            carrier=None,
            duration_s=fields.duration_s(_at(record, "callDuration")),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return self._started(_within(value))

    def _started(self, record: Members) -> float | None:
        for name in _STARTS:
            moment = fields.moment_s(_clock(_at(record, name)), self._zone)
            if moment is not None:
                return moment
        return None

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record, kind = _record(value)
        parties = _parties_of(record)
        caller, callee = _parties(parties, kind)
        calling = _CALLING if kind == "ims" else "callingNumber"
        started = next((name for name in _STARTS if name in record), _STARTS[0])
        return {
            "call_id": RecordField("networkCallReference or callReference", _call_id(parties)),
            "caller": RecordField(calling, caller),
            "callee": RecordField(
                "servedMSISDN" if kind == "mt" else _CALLED[kind == "ims"], callee
            ),
            "trunk": RecordField("mscIncomingTKGP", _trunk(parties)),
            "started_at": RecordField(started, _at(record, started)),
            "duration_s": RecordField("callDuration", _at(record, "callDuration")),
        }


_CALLED, _CALLING = ("calledNumber", "called-Party-Address"), "list-Of-Calling-Party-Address"
_NUMBER, _TYPE, _URI = ("address", "digits"), ("natureOfAddress", "ton"), ("tEL-URI", "sIP-URI")
_PLACES: tuple[tuple[str, str, tuple[Step, ...]], ...] = (
    ("method", "mo mt inc out ims", ("sIP-Method",)),
    ("trunk", "mo mt inc out ims", ("mscIncomingTKGP", ("tkgpName", "tkgpNumber"))),
    ("call_id", "mo mt inc out", ("networkCallReference",)),
    ("call_id", "ims", (("networkCallReference", "iMS-Charging-Identifier"),)),
    ("reference", "mo mt inc out", ("callReference",)),
    ("exchange", "mo mt inc out", ("recordingEntity", _NUMBER)),
    ("caller", "mo mt inc out", ("callingNumber", _NUMBER)),
    ("caller_type", "mo mt inc out", ("callingNumber", _TYPE)),
    ("caller_served", "mo", ("servedMSISDN",)),
    ("caller_uri", "ims", (_CALLING, _URI)),
    ("callee", "mo inc out", (_CALLED[0], _NUMBER)),
    ("callee_type", "mo inc out", (_CALLED[0], _TYPE)),
    ("callee_served", "mt", ("servedMSISDN",)),
    ("callee_uri", "ims", (_CALLED[1], _URI)),
    ("unusual", "ims", ("callReference",)),
    ("unusual", "ims", (_CALLING, "iSDN-E164")),
    ("unusual", "ims", (_CALLED[1], "iSDN-E164")),
    ("unusual", "other", ()),
)
"""For the scan: fields and parts of usual records, by kind."""


def _layout(trunk: str) -> FieldLayout:
    """Return the layout of usual records; all calls are of `trunk`, unless it is empty."""
    paths = tuple(
        (field, (tuple(name for name in RECORDS if RECORDS[name] == kind), *path))
        for field, kinds, path in _PLACES
        for kind in kinds.split()
        if not (trunk and field == "trunk")
    )
    constants = (("trunk", trunk),) if trunk else ()
    return FieldLayout(paths, constants, empty_is_absent=True, lists=(_CALLING,), in_parts=True)


def _record(value: Value) -> tuple[Members, str]:
    """Return the record and its kind: mo, mt, inc, out or ims. Raises NoCall for others."""
    around = fields.members(value)
    for name in around:
        kind = RECORDS.get(name)
        if kind == "other":
            raise NoCall(RejectReason.OTHER_EVENT, f"{name} is of no call: send only call records")
        if kind is not None:
            record = fields.members(around[name])
            method = _at(record, "sIP-Method", msgspec.UNSET)
            if method not in (None, "INVITE"):
                text = "sIP-Method is not INVITE: only that says who calls whom"
                told = isinstance(method, str)
                raise NoCall(RejectReason.OTHER_EVENT if told else RejectReason.WRONG_TYPE, text)
            return record, kind
    raise NoCall(RejectReason.MISSING_FIELD, f"no 3GPP record: {_HELP}")


def _within(value: Value) -> Members:
    """Return the members of the record, whatever it is of; none where there is none."""
    around = fields.members(value)
    return next((fields.members(around[name]) for name in around if name in RECORDS), {})


def _at(record: Members, name: str, unreadable: Any = None) -> Any:
    raw = record.get(name)
    return None if raw is None else fields.read(raw, unreadable)


def _call_id(record: _Parties) -> str | None:
    network = _scalar(record.network)
    if network:
        return network
    own = _scalar(record.own)
    if own:
        # Unique within the exchange that wrote the record.
        exchange = _digits(record.exchange)[0]
        return f"{exchange}/{own}" if exchange else own
    return _scalar(record.ims) or _scalar(record.session)


def _scalar(value: Any) -> str | None:
    if type(value) is str:
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _parties(record: _Parties, kind: str) -> tuple[str | None, str | None]:
    """Caller and callee."""
    if kind == "ims":
        calling = record.calling_list
        parties = calling if isinstance(calling, list) else [calling]
        callers = [text for party in parties if (text := _involved(party)) is not None]
        # A SIP URI with a name may stand before the tel URI: the number is what lists know.
        caller = next(filter(_names_number, callers), callers[0] if callers else None)
        return caller, _involved(record.called_party)
    caller = _number(record.calling)
    if kind == "mt":
        return caller, _number(record.served, served=True)
    if kind == "mo" and caller is None:
        caller = _number(record.served, served=True)
    return caller, _number(record.called)


def _names_number(text: str) -> bool:
    party = party_of(text)
    return party is not None and party.dialled is not None


def _involved(party: Any) -> str | None:
    """Return the text of an InvolvedParty: a SIP or tel URI, a URN, or a number in E.164."""
    if isinstance(party, str):
        return party or None
    if not isinstance(party, _Involved):
        return None
    uri = fields.text(party.tel) or fields.text(party.sip) or fields.text(party.urn)
    return uri or (f"+{number}" if (number := _scalar(party.number)) else None)


def _number(party: Any, *, served: bool = False) -> str | None:
    """Write a number as ours are: international ones with `+`."""
    if party is None:
        return None
    digits, nature = _digits(party)
    if not digits:
        return None
    bare = served and nature is None
    return f"+{digits}" if (bare or nature in _INTERNATIONAL) and digits.isdecimal() else digits


def _digits(party: Any) -> tuple[str | None, Any]:
    """Return the digits of an address and its type of number (None: it does not say)."""
    if isinstance(party, _Address):
        digits = _scalar(party.address) or _scalar(party.digits)
        nature = party.ton if party.nature is msgspec.UNSET else party.nature
        return digits, nature if isinstance(nature, _NATURE) else "unknown"
    return _scalar(party), None


def _trunk(record: _Parties) -> str | None:
    """Return the incoming trunk group: {"tkgpName": "..."}, {"tkgpNumber": 7}, or a text."""
    group = record.group
    if isinstance(group, _Group):
        return _scalar(group.name) or _scalar(group.number)
    return _scalar(group)


def _clock(value: Any) -> Any:
    """Write a TimeStamp of nine octets in BCD, YYMMDDhhmmssShhmm with S in ASCII, as ISO 8601."""
    match = _BCD_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    minutes, seconds, sign, hours_away, minutes_away = match.groups()
    day = f"20{minutes[0:2]}-{minutes[2:4]}-{minutes[4:6]}"
    plus = "-" if sign in ("-", "2d", "2D") else "+"
    clock = f"{minutes[6:8]}:{minutes[8:10]}:{seconds}"
    return f"{day}T{clock}{plus}{hours_away}:{minutes_away}"


Read = Callable[[bytes, Element], Any]
_BerMembers = Mapping[int, tuple[str, Read]]


def _charging_id(data: bytes, element: Element) -> str:
    """Return an id that is text at some vendors and bytes at others."""
    content = plain_bytes(data, element)
    return content.decode() if content.isascii() and content.isalnum() else content.hex()


def _dialled(data: bytes, element: Element) -> dict[str, str] | None:
    """Return a number of TS 24.008: octet 3, perhaps 3a (presentation and screening), digits."""
    content = plain_bytes(data, element)
    if not content:
        return None
    digits = tbcd_digits(content[1:] if content[0] & 0x80 else content[2:])
    kind = content[0] >> 4 & 7
    return {"natureOfAddress": "international" if kind == 1 else "unknown", "address": digits}


def _group(data: bytes, element: Element) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for inside in elements(data, element):
        if inside.number == 0:
            group["tkgpNumber"] = integer(data, inside)
        elif inside.number == 1:
            group["tkgpName"] = characters(data, inside)
    return group


_URIS: Final = {0: "sIP-URI", 1: "tEL-URI", 2: "uRN", 3: "iSDN-E164"}


def _ber_party(data: bytes, element: Element) -> dict[str, str]:
    """Return an InvolvedParty: it is a choice, so it lies within its member."""
    found = {}
    for inside in elements(data, element) if element.is_constructed else ():
        if inside.number in _URIS and not inside.is_constructed:
            found[_URIS[inside.number]] = characters(data, inside)
    return found


def _all_involved(data: bytes, element: Element) -> list[dict[str, str]]:
    parties = []
    for inside in elements(data, element):
        if inside.number in _URIS and not inside.is_constructed:
            parties.append({_URIS[inside.number]: characters(data, inside)})
        else:
            parties.append(_ber_party(data, inside))
    return parties


_MO: Final[_BerMembers] = {
    3: ("servedMSISDN", _dialled), 4: ("callingNumber", _dialled), 5: ("calledNumber", _dialled),
    9: ("recordingEntity", _dialled), 10: ("mscIncomingTKGP", _group), 22: ("seizureTime", octets),
    23: ("answerTime", octets), 25: ("callDuration", integer), 32: ("callReference", octets),
    38: ("networkCallReference", octets),
}  # fmt: skip
_MT: Final[_BerMembers] = {
    3: ("servedMSISDN", _dialled), 4: ("callingNumber", _dialled), 6: ("recordingEntity", _dialled),
    7: ("mscIncomingTKGP", _group), 19: ("seizureTime", octets), 20: ("answerTime", octets),
    22: ("callDuration", integer), 29: ("callReference", octets),
    33: ("networkCallReference", octets),
}  # fmt: skip
_GATEWAY: Final[_BerMembers] = {
    1: ("callingNumber", _dialled), 2: ("calledNumber", _dialled), 3: ("recordingEntity", _dialled),
    4: ("mscIncomingTKGP", _group), 6: ("seizureTime", octets), 7: ("answerTime", octets),
    9: ("callDuration", integer), 13: ("callReference", octets),
}  # fmt: skip
_TRANSIT: Final[_BerMembers] = {
    1: ("recordingEntity", _dialled), 2: ("mscIncomingTKGP", _group),
    4: ("callingNumber", _dialled),
    5: ("calledNumber", _dialled), 7: ("seizureTime", octets), 8: ("answerTime", octets),
    10: ("callDuration", integer), 14: ("callReference", octets),
}  # fmt: skip
_BER_IMS: Final[_BerMembers] = {
    2: ("sIP-Method", characters), 5: ("session-Id", characters),
    6: ("list-Of-Calling-Party-Address", _all_involved), 7: ("called-Party-Address", _ber_party),
    9: ("serviceRequestTimeStamp", octets), 10: ("serviceDeliveryStartTimeStamp", octets),
    19: ("iMS-Charging-Identifier", _charging_id),
}  # fmt: skip
_BER_RECORDS: Final[Mapping[int, tuple[str, _BerMembers]]] = {
    0: ("moCallRecord", _MO), 1: ("mtCallRecord", _MT), 3: ("incGatewayRecord", _GATEWAY),
    4: ("outGatewayRecord", _GATEWAY), 5: ("incGatewayRecord", _TRANSIT),
    **{number: (f"{name}Record", _BER_IMS) for number, name in (
        (63, "sCSCF"), (64, "pCSCF"), (65, "iCSCF"), (67, "mgcf"), (68, "bgcf"), (69, "as"),
        (70, "eCSCF"), (82, "ibcf"), (89, "trf"), (91, "atcf"),
    )},
}  # fmt: skip
"""Kinds of records by their tag, which is their recordType too."""
_APPLICATION: Final = 1
_CONTEXT: Final = 2
_SETS: Final = (16, 17)
_KINDS_MAX: Final = 500
"""Above the kinds of records in TS 32.298 and of events in TAP3."""


class ThreeGppBer(Transcoded):
    """The dialect `3gpp-ber`."""

    def __init__(self, name: str, switch: SwitchSettings) -> None:
        super().__init__(name, ThreeGpp(name, switch))

    def text(self, value: Value, /) -> bytes:
        """Return the record as the JSON of dialect `3gpp`. Raises NoCall."""
        try:
            return self._text(bytes(value))
        except Damaged as damaged:
            raise NoCall(RejectReason.WRONG_ENCODING, f"no BER: {damaged}") from None

    def _text(self, data: bytes) -> bytes:
        record = whole_element(data)
        if not record.is_constructed:
            raise Damaged("a record is made of elements")
        if record.kind == _APPLICATION:
            return msgspec.json.encode(_tap(data, record))
        number = record.number
        if record.kind == 0 and number in _SETS:
            number = _ber_kind(data, record)
        if number not in _BER_RECORDS or record.kind not in (0, _CONTEXT):
            raise _of_no_call(data, record, "record", number)
        name, members = _BER_RECORDS[number]
        return msgspec.json.encode({name: _ber_members(data, record, members)})


def _of_no_call(data: bytes, record: Element, what: str, number: int) -> NoCall:
    """Return why a record of another kind is no call: it is of another event if it is whole."""
    for _ in elements(data, record):
        pass  # raises Damaged
    if number > _KINDS_MAX:
        raise Damaged(f"{what} {number} is of no known kind")
    text = f"{what} {number} is of no call: send only call records"
    return NoCall(RejectReason.OTHER_EVENT, text)


def _ber_kind(data: bytes, record: Element) -> int:
    for member in elements(data, record):
        if (member.kind, member.number) == (_CONTEXT, 0):
            return integer(data, member)
    raise NoCall(RejectReason.MISSING_FIELD, "recordType missing: it says what a record is of")


def _ber_members(data: bytes, record: Element, members: _BerMembers) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member in elements(data, record):
        if member.kind == _CONTEXT and member.number in members:
            name, read = members[member.number]
            if name in found:
                raise NoCall(RejectReason.DUPLICATE_KEY, f"{name} is given twice")
            found[name] = read(data, member)
    return found


_TAP_KINDS: Final = {9: "moCallRecord", 10: "mtCallRecord"}
_TAP_AROUND: Final = frozenset({
    # Basic information of both kinds, subscriber (a choice) and SIM, destination, originator,
    # location, its network, the time of the call.
    147, 153, 427, 199, 89, 41, 138, 156, 44,
})  # fmt: skip


def _tap(data: bytes, record: Element) -> dict[str, Any]:
    """Return a call of a TAP3 batch, in the members of TS 32.298."""
    if record.number not in _TAP_KINDS:
        raise _of_no_call(data, record, "TAP event", record.number)
    kind = _TAP_KINDS[record.number]
    found: dict[str, Any] = {}
    for member in _tap_members(data, record, 0):
        if member.number == 152:
            found.setdefault("servedMSISDN", _tap_party(data, member))
        elif member.number == 405:
            found.setdefault("callingNumber", _tap_party(data, member))
        elif member.number == 407:
            found.setdefault("calledNumber", _tap_party(data, member))
        elif member.number == 16:
            found.setdefault("seizureTime", _tap_time(data, member))
        elif member.number == 45:
            found.setdefault("callReference", octets(data, member))
        elif member.number == 223:
            found.setdefault("callDuration", integer(data, member))
    return {kind: found}


def _tap_members(data: bytes, record: Element, depth: int) -> Iterator[Element]:
    for member in elements(data, record):
        if member.is_constructed and member.number in _TAP_AROUND and depth < 8:
            yield from _tap_members(data, member, depth + 1)
        else:
            yield member


def _tap_party(data: bytes, element: Element) -> dict[str, str]:
    """Return a number of TAP3: BCD from left to right, international."""
    digits = plain_bytes(data, element).hex().partition("f")[0]
    return {"natureOfAddress": "international", "address": digits}


def _tap_time(data: bytes, element: Element) -> str:
    """Return a local time of TAP3, `YYYYMMDDhhmmss`; the switch's zone counts."""
    text = characters(data, element)
    if len(text) != 14 or not text.isdigit():
        return text
    day = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
    return f"{day} {text[8:10]}:{text[10:12]}:{text[12:]}"
