"""Dialect `ringfence`: our own JSON, one object per record. See docs/how-to/switches/own.md.

    call_id      text, required: the switch's id of the call
    caller       text or null (withheld), required
    callee       text or null, required
    started_at   RFC 3339 text, or the epoch in seconds or milliseconds
    stage        attempt | end; end where absent
    ingress      international | domestic; else the trunk's
    trunk        the name that [trunks] in the configuration knows
    carrier      text
    duration_s   seconds
    verstat      result of a verification by STIR/SHAKEN, e.g. TN-Validation-Passed
    attestation  A, B or C: the first network's word for the caller
    passport     the call's Identity header field, or the PASSporT in it

Other keys are ignored, at no price. A required key given twice makes the record no call; of an
optional one the last counts.
"""

from collections.abc import Mapping

import msgspec

from stream.calls.call_batch import FIELDS, SIGNED, KeyFields
from stream.calls.dialects import fields
from stream.calls.dialects.dialect import Details, FieldLayout, RecordField, Value

_NULL = msgspec.Raw(b"null")


class _Rest(msgspec.Struct, gc=False):
    """The fields of `Details`, not read yet, so that a bad one costs only itself."""

    started_at: msgspec.Raw = _NULL
    stage: msgspec.Raw = _NULL
    carrier: msgspec.Raw = _NULL
    duration_s: msgspec.Raw = _NULL


class _Began(msgspec.Struct, gc=False):
    started_at: msgspec.Raw = _NULL


_FIELDS = (*FIELDS, *_Rest.__struct_fields__, *SIGNED)


class _Lean(msgspec.Struct, gc=False):
    call_id: str
    caller: str | None
    callee: str | None
    trunk: msgspec.Raw = _NULL
    ingress: msgspec.Raw = _NULL
    verstat: msgspec.Raw = _NULL
    attestation: msgspec.Raw = _NULL
    passport: msgspec.Raw = _NULL


class RingfenceDialect:
    """The dialect; it has no settings."""

    name = "ringfence"
    json_keys = ("call_id", "caller", "callee")
    layout = FieldLayout(tuple((field, (field,)) for field in (*FIELDS, *SIGNED)))

    def __init__(self) -> None:
        self._key_fields = msgspec.json.Decoder(KeyFields).decode
        self._lean = msgspec.json.Decoder(_Lean).decode
        self._rest = msgspec.json.Decoder(_Rest).decode
        self._began = msgspec.json.Decoder(_Began).decode

    def key_fields(self, value: Value, /) -> KeyFields:
        """See `Dialect`."""
        try:
            return self._key_fields(value)
        except msgspec.ValidationError:
            # A trunk or ingress of a wrong type must not let a listed caller through: only what
            # cannot be done without makes a record no call.
            lean = self._lean(value)
        optional = (lean.trunk, lean.ingress, lean.verstat, lean.attestation, lean.passport)
        texts = (fields.text(fields.read(raw)) for raw in optional)
        return KeyFields(lean.call_id, lean.caller, lean.callee, *texts)

    def details(self, value: Value, /) -> Details:
        """See `Dialect`."""
        rest = self._rest(value)
        return Details(
            started_at_s=fields.epoch_s(fields.read(rest.started_at)),
            stage=fields.stage(fields.read(rest.stage)),
            carrier=fields.text(fields.read(rest.carrier)),
            duration_s=fields.duration_s(fields.read(rest.duration_s)),
        )

    def started_at_s(self, value: Value, /) -> float | None:
        """See `Dialect`."""
        return fields.epoch_s(fields.read(self._began(value).started_at))

    def found(self, value: Value, /) -> Mapping[str, RecordField]:
        """See `Dialect`."""
        record = fields.members(value)
        return {
            name: RecordField(name, fields.read(record[name]) if name in record else None)
            for name in _FIELDS
        }


RINGFENCE = RingfenceDialect()
