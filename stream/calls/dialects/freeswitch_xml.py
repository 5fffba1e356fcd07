"""FreeSWITCH's mod_xml_cdr, as FusionPBX uses it: the CDR of mod_json_cdr as an XML document.

Source: signalwire/freeswitch `src/switch_ivr.c` (switch_ivr_generate_xml_cdr),
`src/mod/xml_int/mod_xml_cdr`.

    <cdr>  <variables> <uuid>, <call_uuid>, <start_uepoch>...  URL-encoded
           <callflow>, the newest first
               <caller_profile> <caller_id_number>, <destination_number>...

A POST's body is the document, or `cdr=` and the document, plain, URL-encoded or base64. What
counts in it is what counts in JSON; see `freeswitch`. Files of the first leg begin with `a_` where
`prefix-a-leg` is set; the other leg's have the same `call_uuid`.

Trap: a variable's name becomes an element's name, in any form that a dialplan gives it (`<1>`,
`<set hook>`, `<^^,language>`). With `encode-values` off, a header stands there with its `<` and
`>`. Such a document is no XML. Then only the wanted variables are taken out of `<variables>`; the
rest has to be sound.

The parser is expat, which takes linear time. A document with a DTD is refused before anything of it
is read, so no entity is ever expanded. Its encoding is UTF-8, whatever it says.
"""

from collections.abc import Mapping
from xml.parsers import expat

from stream.calls.dialects.dialect import NoCall, SwitchSettings, Value
from stream.calls.dialects.freeswitch import (
    ChannelRecord,
    Flow,
    FreeSwitch,
    Profile,
    Variables,
    unwrapped,
)
from stream.core.model.call import RejectReason
from stream.core.numbers.spelling import in_utf8

_DEPTH_MAX = 32
"""Elements in one another; FreeSWITCH writes six."""
_FORM = b"cdr="
_VARIABLES = ["cdr", "variables"]
_PROFILE = ["cdr", "callflow", "caller_profile"]
_OPENING, _CLOSING = b"<variables>", b"</variables>"
_OF_VARIABLES = frozenset(Variables.__struct_fields__)
_VOUCHING = frozenset(("sip_verstat", "sip_stir_shaken_attest", "sip_h_identity"))
_OF_PROFILE = frozenset(Profile.__struct_fields__)


def freeswitch_xml(name: str, switch: SwitchSettings) -> FreeSwitch:
    """Return the dialect `freeswitch-xml`."""
    return FreeSwitch(name, switch, _read)


def _read(value: Value) -> ChannelRecord:
    """Read the record in a document or in the body of a POST."""
    data = bytes(value)
    if data.startswith(_FORM):
        data = data[len(_FORM) :]
        # A plain document is not URL-encoded, but what its variables hold is.
        if not data.lstrip().startswith(b"<"):
            data = unwrapped(data, b"<", "XML")
    data = in_utf8(data.strip())
    try:
        document = _Document(data)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset}"
        detail = f"{place}: {expat.ErrorString(error.code)}"
        wanted = _of_wanted(data)
        try:
            if wanted is None:
                raise NoCall(RejectReason.NOT_XML, detail) from error
            document = _Document(wanted)
        except expat.ExpatError:
            raise NoCall(RejectReason.NOT_XML, detail) from error
    if not document.variables:
        text = "cdr.variables missing: this is no whole record of mod_xml_cdr"
        raise NoCall(RejectReason.MISSING_FIELD, text)
    return ChannelRecord(Variables(**document.variables), Flow(Profile(**document.profile)))


def _of_wanted(data: bytes) -> bytes | None:
    """Return the document with nothing but wanted variables; None: it is none of this module.

    A caller's header may hold what looks like variables. So one that is given twice is left out,
    but for `uuid`, which FreeSWITCH writes before all headers. What vouches for a caller is not
    taken from such a document at all.
    """
    if data.count(_OPENING) != 1 or data.count(_CLOSING) != 1:
        return None
    before, _, rest = data.partition(_OPENING)
    held, _, behind = rest.partition(_CLOSING)
    kept = [_OPENING]
    for name in sorted(_OF_VARIABLES - _VOUCHING):
        opening, closing = f"<{name}>".encode(), f"</{name}>".encode()
        at = held.find(opening) + len(opening)
        end = held.find(b"<", at)
        is_sure = name == "uuid" or held.count(opening) == 1
        if is_sure and at >= len(opening) and held[end : end + len(closing)] == closing:
            kept += [opening, held[at:end], closing]
    return b"".join((before, *kept, _CLOSING, behind))


class _Document:
    """A document: its variables, and the channel's first profile. Raises ExpatError, NoCall."""

    def __init__(self, data: bytes) -> None:
        self.variables: dict[str, str] = {}
        self.profile: dict[str, str] = {}
        self._way: list[str] = []
        self._texts: list[str] = []
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            self._parser.Parse(data, True)
        finally:
            # It holds this object's methods: without the cycle both go at once.
            del self._parser

    def _start(self, name: str, _: Mapping[str, str]) -> None:
        way = self._way
        # Lists of other lengths differ at once; most elements are in neither place.
        if (way == _VARIABLES and name in _OF_VARIABLES) or (
            way == _PROFILE and name in _OF_PROFILE
        ):
            self._texts = []
            # Nobody wants the other texts: a call of Python for each would cost as much again.
            self._parser.CharacterDataHandler = self._texts.append
        else:
            self._parser.CharacterDataHandler = None
        way.append(name)
        if way == _PROFILE:
            # The channel's first profile is the last in the document.
            self.profile = {}
        elif len(way) > _DEPTH_MAX:
            raise NoCall(RejectReason.TOO_DEEP, f"nested more than {_DEPTH_MAX} deep")

    def _end(self, name: str) -> None:
        self._way.pop()
        if self._parser.CharacterDataHandler is not None:
            self._parser.CharacterDataHandler = None
            held = self.variables if self._way == _VARIABLES else self.profile
            held[name] = "".join(self._texts)


def _refuse(*_: object) -> None:
    raise NoCall(RejectReason.NOT_XML, "a document with a DTD: mod_xml_cdr writes none")
