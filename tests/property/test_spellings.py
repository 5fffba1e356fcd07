"""However a listed number is spelled, what others read as it is found on the list or refused.

The others are phonenumbers (libphonenumber), sipmessage, and three ways in which SIP stacks are
known to take an address apart; none of them is ours.
"""

import os
import re
import unicodedata
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

import msgspec
import phonenumbers
import sipmessage
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from phonenumbers import ValidationResult

from stream.calls.lookup import TOPIC, Question
from stream.core.numbers.caller_readings import read_caller, readings_of
from stream.core.numbers.number import Kind, Number, parse
from stream.core.numbers.parties import uris_in
from stream.core.numbers.spelling import folded, unescaped
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import record_of
from tests.support.lookups import LISTS, decoded_lookup, lookup_in
from tests.support.sip import BLOCKED, code_of, message, responder

EXAMPLES = int(os.environ.get("RINGFENCE_SPELLINGS", "300"))
LOOKUP = lookup_in(LISTS)
ABROAD = responder(strangers_per_s=1e6)
HOME = responder(trunks={"192.0.2.7": "gb"}, requests_per_s=1e6)
NATIONAL = BLOCKED.removeprefix("+44")
ZEROS = [0x30, 0x660, 0x6F0, 0x966, 0xE50, 0xED0, 0x1040, 0x17E0, 0xFF10, 0x1D7CE]
BETWEEN = [
    *("", "", "", "", " ", "-", ".", "(", ")", "/", "\t", "\u00a0", "\u00ad", "\u200b", "\u200e"),
    *(
        "\u2009",
        "\u2011",
        "\u2060",
        "\u3000",
        "\uff0d",
        "\uff0e",
        "*",
        "~",
        "[",
        "x",
        "%",
        ",",
        ";",
    ),
]
BEFORE = ["", "", "", "abc", "x", "*", "'", "\u202a", "\ufeff", "#", "1800", "tel", "=", ":"]
BEHIND = ["", "", "", ";ext=9", ";isub=1", " ext 9", "x9", "#9", ",,9", ";9", "\u202c", "\0", "a"]
CONTEXTS = ["", "", ";phone-context=+44", ";phone-context=+447700", ";phone-context=+66"]
CONTEXTS += [";phone-context=h.example", ";Phone-Context=%2B44", ";phone-context=44"]
ADDRESSES = [
    *(
        "{}",
        "<{}>",
        "<{}>;tag=1",
        '"A" <{}>;tag=1',
        "A B <{}>",
        "{};tag=1",
        "a;b <{}>",
        "A, B <{}>",
    ),
    *(
        "<{}",
        '"A <{}>',
        "{} <sip:b@c>",
        "<sip:b@c>, <{}>",
        '"<sip:b@c>" <{}>',
        '<{}>;x="<sip:b@c>"',
    ),
    *("<sip:b@c> <{}>", "A {}", "<{}>;phone-context=+44", "{};phone-context=+44"),
]
URIS = ["sip:{}@h.example", "sips:{}@h.example;user=phone", "tel:{}", "SIP:{}@192.0.2.1:5060"]
URIS += ["sip:{}", "sip:{}:secret@h.example", "{}@h.example", "{}"]


@st.composite
def spelled(draw):
    """The listed number as nobody should write it."""
    start = draw(st.sampled_from(["+44", "0044", "44", "0", "", "\uff0b44", "+44(0)", "tel:+44"]))
    digits = []
    for sign in start + NATIONAL:
        zero = draw(st.sampled_from([0x30] * 8 + ZEROS)) if sign.isdigit() else 0
        digits.append(chr(zero + int(sign)) if zero else sign)
        digits.append(draw(st.sampled_from(BETWEEN)) if draw(st.integers(0, 5)) == 0 else "")
    text = draw(st.sampled_from(BEFORE)) + "".join(digits) + draw(st.sampled_from(BEHIND))
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(text)))
        encoding = draw(st.sampled_from(["utf-8", "latin-1"]))
        text = text[:at] + quote_from_bytes(text[at:].encode(encoding, "replace"), safe="")
    return text + draw(st.sampled_from(CONTEXTS))


@st.composite
def addressed(draw):
    """The same in an address of SIP."""
    uri = draw(st.sampled_from(URIS)).format(draw(spelled()))
    return draw(st.sampled_from(ADDRESSES)).format(uri)


def by_phonenumbers(text, region):
    """The reading of phonenumbers, as E.164; None: no possible number."""
    try:
        reading = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(reading):
        return None
    return phonenumbers.format_number(reading, phonenumbers.PhoneNumberFormat.E164)


def plain(text):
    """Percent-encoding undone, as UTF-8 or as Latin-1."""
    data = unquote_to_bytes(text)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def users_in(address):
    """The user part of an address as readers of SIP take it, parameters included."""
    found = []
    try:
        uri = sipmessage.Address.parse(address).uri
        found.append(str(uri).partition(":")[2].partition("@")[0])
    except ValueError:
        pass
    quoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", address)  # brackets outside of quotes
    for inner in (
        quoted.partition("<")[2].partition(">")[0],
        quoted.rpartition("<")[2].partition(">")[0],
        re.split("[;<]", address)[0],
        address if "<" not in address else "",
    ):
        scheme = re.match(r"\s*(sips?|tel):", inner, re.IGNORECASE)
        if scheme is None:
            continue
        rest = inner[scheme.end() :]
        if scheme[1].lower() == "tel" or "@" in rest:
            found.append(rest if scheme[1].lower() == "tel" else rest.partition("@")[0])
    return [user.partition(":")[0] for user in found]


def read_by_others(address, region):
    """The numbers that others read in an address."""
    found = set()
    for user in users_in(address):
        number, _, parameters = user.partition(";")
        for text in (plain(number), plain(user), plain(number) + ";" + unquote(parameters)):
            found.add(by_phonenumbers(text, region))
            found.add(by_phonenumbers(text.split("\0")[0], region))
    return found - {None}


@given(caller=addressed())
@settings(max_examples=EXAMPLES)
@example(f"a;b <sip:{BLOCKED}@h>")
@example(f"tel:{NATIONAL};phone-context=+44;tag=1")
@example(f"<sip:+44\u00a0{NATIONAL}@h>")
@example(f"<sip:+44\t{NATIONAL}@h>")
@example("<sip:" + "".join(chr(0xFF10 + int(c)) if c.isdigit() else c for c in BLOCKED) + "@h>")
def test_a_listed_caller_is_found_or_refused_by_sip(caller):
    """Where any other reader finds the listed number in From, the call may not go on."""
    for region, here in ((None, ABROAD), ("GB", HOME)):
        said = caller.replace("\n", " ").replace("\r", " ")
        if BLOCKED in read_by_others(said.strip(), region):
            data = message(changed={"From": said})
            assert code_of(data, here) in (603, 400)
            if "," not in said:  # which separates identities there
                data = message(changed={"P-Asserted-Identity": said})
                assert code_of(data, here) in (603, 400)


@given(text=spelled())
@settings(max_examples=EXAMPLES)
def test_a_listed_caller_is_found_by_lookup_and_stream(text):
    """HTTP's lookup asks for what phonenumbers reads in a caller's text from the switch; and
    the stream, which takes one number, where there is no other.
    """
    assume(len(text) <= 64)
    for region, trunk in (("TH", None), ("GB", "gb")):
        if by_phonenumbers(text, region) != BLOCKED:
            continue
        readings = readings_of(text, region)
        found = (*readings.numbers, *readings.guesses)
        assert BLOCKED in found or not readings.whole
        if BLOCKED not in found:
            continue
        (answer,) = LOOKUP._answers([LOOKUP._asked_of(Question(text, trunk=trunk), "c")])
        assert msgspec.json.decode(answer)["verdict"] == "block"
        if readings.numbers == (BLOCKED,) and readings.first.kind in (Kind.E164, Kind.INVALID):
            assert read_caller(text, region).text == BLOCKED
            record = record_of(Question(text, trunk=trunk, call_id="c"))
            batch = decoded_lookup(RawBatch.of([record], Partition(TOPIC, 0)))
            assert batch.callers.text(0) == BLOCKED


@given(text=st.text(max_size=80) | addressed(), region=st.sampled_from(["TH", "GB", "US", None]))
def test_any_text_has_readings(text, region):
    """Readings are numbers in E.164, the careful one first, and few."""
    readings = readings_of(text, region)
    first = parse(text, region)
    assert readings.first == first
    assert first.kind is not Kind.E164 or readings.numbers[0] == first.text
    found = (*readings.numbers, *readings.guesses)
    assert all(parse(number, None).text == number for number in found)
    assert len(set(found)) == len(found) <= 30
    caller = read_caller(text, region)
    assert caller == first or first.kind is Kind.INVALID


@given(
    text=st.from_regex(r"\+?(?:00?)?[1-9][0-9]{2,14}", fullmatch=True),
    form=st.sampled_from(["{}", "sip:{}@h", "<sip:{}@h>;tag=1", "tel:{}"]),
    region=st.sampled_from(["TH", "GB", "US", "CN", "AU", "NG", "RU", "BR", None]),
)
@settings(max_examples=EXAMPLES)
def test_plain_digits_are_asked_as_everybody_reads_them(text, form, region):
    """Read at once or taken apart, they are the same: as dialled, and as international after 00."""
    readings = readings_of(form.format(text), region)
    found = (*readings.numbers, *readings.guesses)
    for other in (text, f"+{text[2:]}" if text.startswith("00") else text):
        number = by_phonenumbers(other, region)
        if number is None or parse(number, None) != Number(Kind.E164, number):
            continue  # of too many digits, or no canonical form of any number
        reading = phonenumbers.parse(other, region)
        reason = phonenumbers.is_possible_number_with_reason(reading)
        # What can be dialled within an area alone is nobody's number elsewhere.
        assert number in found or reason == ValidationResult.IS_POSSIBLE_LOCAL_ONLY


@given(text=st.text() | st.text(st.characters(codec=None)))
def test_folding_keeps_every_digit(text):
    """A folded text has the digits of the text, in ASCII, and nothing to fold any more."""
    once = folded(text)
    assert [c for c in once if c.isdecimal()] == [
        str(unicodedata.decimal(c)) for c in text if c.isdecimal()
    ]
    assert folded(once) == once
    assert "\u00a0" not in once
    assert once.count("\n") == text.count("\n")


@given(before=st.text(), byte=st.integers(0x80, 0xFF), behind=st.text(st.characters(codec="ascii")))
def test_percent_encoding_is_undone_whatever_the_bytes(before, byte, behind):
    """UTF-8 as it is, a byte that is none as Latin-1; a `%` that encodes nothing stays."""
    before = before.encode("utf-8", "replace").decode("utf-8")
    data = before.encode() + bytes([byte]) + behind.encode()
    assert unescaped(quote_from_bytes(data, safe="")) == before + chr(byte) + behind
    assert unescaped("\u0e51%C2%A0\udc80%zz%") == "\u0e51\u00a0\udc80%zz%"


@given(name=st.text(st.characters(exclude_characters='"\\'), max_size=20), tail=st.text(max_size=9))
def test_an_address_by_the_letter_has_one_uri(name, tail):
    """Whatever stands in its quoted name or parameter."""
    quoted = tail.replace("\\", "").replace('"', "").replace("phone-context", "")
    assert uris_in(f'"{name}" <sip:a@b>;tag=1;x="{quoted}"') == (["sip:a@b"], True)
