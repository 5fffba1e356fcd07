"""mod_xml_cdr: the same call as in JSON, and nothing that a document could do to its reader."""

import gc
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import NoCall
from stream.core.model.call import RejectReason

GOLDEN = Path(__file__).parents[3] / "golden" / "cdr"
XML, JSON = dialect_named("freeswitch-xml", {}), dialect_named("freeswitch", {})
DOCUMENT = (GOLDEN / "freeswitch-xml" / "a-leg" / "input.xml").read_bytes().strip()


def refused(value: bytes) -> NoCall:
    with pytest.raises(NoCall) as caught:
        XML.key_fields(value)
    return caught.value


def test_a_call_is_the_same_in_xml_and_in_json() -> None:
    """The two modules write one CDR in two forms; no key field and no detail differs."""
    flow = {
        "caller_profile": {
            "caller_id_number": "+447700900125",
            "ani": "+447700900125",
            "network_addr": "203.0.113.7",
            "destination_number": "0812",
        }
    }
    held = {"uuid": "u-1", "call_uuid": "c-1", "start_uepoch": "1795593723123456",
            "duration": "65", "sip_from_user": "%2B447700900125"}  # fmt: skip
    variables = "".join(f"<{name}>{text}</{name}>" for name, text in held.items())
    profile = "".join(f"<{n}>{text}</{n}>" for n, text in flow["caller_profile"].items())
    document = (
        f"<cdr><variables>{variables}</variables>"
        f"<callflow><caller_profile>{profile}</caller_profile></callflow></cdr>"
    ).encode()
    record = json.dumps({"variables": held, "callflow": [flow]}).encode()
    assert XML.key_fields(document) == JSON.key_fields(record)
    assert XML.details(document) == JSON.details(record)
    assert XML.found(document) == JSON.found(record)


BOMBS = {
    "entities in entities": b'<!DOCTYPE cdr [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]>',
    "a file": b'<!DOCTYPE cdr [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    "parameters": b'<!DOCTYPE cdr SYSTEM "http://192.0.2.1/x.dtd">',
    "a name alone": b"<!DOCTYPE cdr>",
}


@pytest.mark.parametrize("head", BOMBS.values(), ids=BOMBS)
def test_a_document_with_a_dtd_is_refused_whole(head: bytes) -> None:
    """Before an entity of it could be expanded."""
    value = DOCUMENT.replace(b"<cdr ", head + b"<cdr ", 1)
    assert refused(value).reason is RejectReason.NOT_XML
    form = b"cdr=" + quote(value, safe="").encode()
    assert refused(form).detail == "a document with a DTD: mod_xml_cdr writes none"


def test_what_can_not_be_read_has_its_place() -> None:
    """Line and column, and no word of the document."""
    error = refused(DOCUMENT.replace(b"</variables>", b"", 1))
    assert (error.reason, error.detail.startswith("line ")) == (RejectReason.NOT_XML, True)
    assert "447700" not in error.detail
    assert refused(b"<a>" * 40).reason is RejectReason.TOO_DEEP
    assert refused(DOCUMENT + DOCUMENT).reason is RejectReason.NOT_XML
    assert refused(b"").reason is RejectReason.NOT_XML
    assert refused(b"cdr=%25").reason is RejectReason.NOT_XML


def test_the_encoding_is_utf_8_whatever_it_says() -> None:
    """Another one would let a document say to us what it says to nobody else."""
    other = DOCUMENT.replace(b'version="1.0"', b'version="1.0" encoding="UTF-16"', 1)
    assert XML.key_fields(other) == XML.key_fields(DOCUMENT)
    assert refused(DOCUMENT.decode().encode("utf-16")).reason is RejectReason.NOT_XML


def test_a_name_in_latin_1_hides_no_call() -> None:
    """A caller chooses its name, and FreeSWITCH copies the bytes."""
    named = DOCUMENT.replace(b"<caller_id_number>", b"<x>Caf\xe9</x><caller_id_number>")
    assert named != DOCUMENT
    form = b"cdr=" + quote(named, safe="").encode()
    assert XML.key_fields(named) == XML.key_fields(form) == XML.key_fields(DOCUMENT)


ODD = (GOLDEN / "freeswitch-xml" / "odd-variable-names" / "input.xml").read_bytes().strip()


def test_names_that_are_no_xml_hide_no_call() -> None:
    """A dialplan's odd names, and headers with brackets in them, cost only themselves."""
    assert XML.key_fields(ODD) == XML.key_fields(DOCUMENT)
    assert XML.details(ODD) == XML.details(DOCUMENT)


def test_a_header_can_not_name_a_callers_call() -> None:
    """A caller who writes a variable's element into a header takes it away, and gives no other."""
    names = b"".join(b"<%b>A</%b>" % (one, one) for one in (
        b"uuid", b"call_uuid", b"sip_from_user", b"start_uepoch", b"sip_stir_shaken_attest",
    ))  # fmt: skip
    forged = ODD.replace(b";tag=9fxced76sl", names)
    assert XML.key_fields(forged) == XML.key_fields(DOCUMENT)
    closing = ODD.replace(b";tag=9fxced76sl", b"</variables>")
    assert refused(closing).reason is RejectReason.NOT_XML
    profile = ODD.replace(b"<caller_id_number>", b"<1><caller_id_number>", 1)
    assert refused(profile).detail.startswith("line ")


def test_comments_and_elements_of_other_places_hold_no_fields() -> None:
    """Only variables and the channel's own profiles count; the first profile is the last."""
    inserted = b"<!-- <call_uuid>x</call_uuid> --><app_log><call_uuid>y</call_uuid></app_log>"
    assert XML.key_fields(DOCUMENT.replace(b"<app_log>", inserted + b"<app_log>", 1)) == (
        XML.key_fields(DOCUMENT)
    )
    flow = b"<callflow><caller_profile><caller_id_number>1</caller_id_number></caller_profile>"
    newer = DOCUMENT.replace(b"<callflow ", flow + b"</callflow><callflow ", 1)
    assert XML.key_fields(newer) == XML.key_fields(DOCUMENT)


def test_a_document_leaves_no_garbage() -> None:
    """The engine's memory does not grow with the calls until a collection."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            XML.key_fields(DOCUMENT)
        assert gc.collect() < 20
    finally:
        gc.enable()
