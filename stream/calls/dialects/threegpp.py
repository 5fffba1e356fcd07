"""3GPP TS 32.298 charging records of mobile networks, decoded to JSON with the names of its ASN.1.

Source: TS 32.298 (CSChargingDataTypes, IMSChargingDataTypes); sigscale/cgf `priv/schema`, whose
wrappers `Bx_moCall`... and `PartyAddress{natureOfAddress, numberingPlan, address}` these are; the
form {digits, ton, npi} is InovaFiscaliza/teleparser's. A record lies under one of `RECORDS`' keys.

    moCall            callingNumber, else servedMSISDN -> calledNumber
    mtCall            callingNumber -> servedMSISDN
    incGateway        callingNumber -> calledNumber, by mscIncomingTKGP: what comes from abroad
    IMS (sCSCF, mgcf, as, ibcf...)  list-Of-Calling-Party-Address -> called-Party-Address

The type of number decides: `international` gets its `+`, any other is read as dialled in the
trunk's country. A served MSISDN is international (TS 23.003). A call's id is networkCallReference,
which all its records share, or else what its exchange calls it.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from stream.calls.call_batch import KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import Details, NoCall, RecordField, SwitchSettings, Value
from stream.calls.dialects.json_form import Members
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
    """An InvolvedParty of IMS: a SIP or tel URI, or a number in E.164."""

    tel: Any = msgspec.field(default=None, name="tEL-URI")
    sip: Any = msgspec.field(default=None, name="sIP-URI")
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
    layout = None

    def __init__(self, name: str, switch: SwitchSettings) -> None:
        self.name = name
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
        calling = "list-Of-Calling-Party-Address" if kind == "ims" else "callingNumber"
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


_CALLED = ("calledNumber", "called-Party-Address")


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
                raise NoCall(RejectReason.OTHER_EVENT, text)
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
    """Return the text of an InvolvedParty: a SIP or tel URI, or a number in E.164."""
    if isinstance(party, str):
        return party or None
    if not isinstance(party, _Involved):
        return None
    uri = fields.text(party.tel) or fields.text(party.sip)
    number = _scalar(party.number)
    return uri or (f"+{number}" if number else None)


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
