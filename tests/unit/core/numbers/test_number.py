"""Numbers in the spellings that switches write."""

import time

import numpy as np
import phonenumbers
import pytest

from stream.core.numbers.number import RAW_MAX, Kind, Number, masked, parse, parse_many, region_of
from stream.core.numbers.parties import TEXT_MAX

THAI = Number(Kind.E164, "+66812345678")
WITHHELD = Number(Kind.ANONYMOUS, "anonymous")


@pytest.mark.parametrize(
    "text",
    [
        "+66812345678",
        "0066812345678",
        "66812345678",
        "0812345678",
        "812345678",
        "00166812345678",
        "+66 81 234 5678",
        "+66-81-234-5678",
        "+66.81.234.5678",
        "(081) 234-5678",
        "081/2345678",
        "+66 (0)81 234 5678",
        "+660812345678",
        " +66812345678\r\n",
        '"+66812345678"',
        "%2B66812345678",
        "%2b66%2081%20234%205678",
        "sip:+66812345678@ims.example;user=phone",
        "SIP:+66812345678@192.0.2.1:5060;transport=udp",
        "sips:+66812345678@[2001:db8::1]",
        "sip:%2B66812345678@ims.example",
        "sip%3A%2B66812345678%40ims.example",
        "sip:+66812345678;npdi;rn=+66800000000@ims.example;user=phone",
        "sip:+66812345678:secret@ims.example",
        "sip:0812345678;phone-context=+66@ims.example;user=phone",
        "sip:+66812345678",
        "tel:+66812345678",
        "tel:+66-81-234-5678;phone-context=+66",
        "tel:0812345678;phone-context=+66",
        "tel:+66812345678?x=y",
        '"Alice" <sip:+66812345678@ims.example>;tag=1928301774',
        "Alice <sip:+66812345678@ims.example;user=phone>",
        '"<sip:+66899999999@x>" <sip:+66812345678@ims.example>',
        '"Anonymous" <sip:+66812345678@ims.example>',
        "sip:+66899999999@x <sip:+66812345678@ims.example>",
        "Alice <0812345678>",
        "+66812345678@ims.example",
        "+66812345678;ext=1",
        "sip:+66812345678@ims.example" + ";aaaaaaaa" * 100,
        '"' + "a" * 1000 + '" <sip:+66812345678@ims.example>',
        "\u200e+66812345678",
        "+66812345678\u202c",
        "+66812\u200b345678",
        "\ufeff+66812345678",
        "+66\u00ad812345678",
        "+66\u00a081\u00a0234\u00a05678",
        "+66\t81\t2345678",
        "+66\u300081\u20092345678",
        "+66\u201181\u22122345\uff0d678",
        "（０８１）２３４－５６７８",
        "+６６８１２３４５６７８",
        "+٦٦٨١٢٣٤٥٦٧٨",
        "+६६८१२३४५६७८",
        "๐๘๑๒๓๔๕๖๗๘",
        "០៨១២៣៤៥៦៧៨",
        "၀၈၁၂၃၄၅၆၇၈",
        "＋66812345678",
        "sip:０８１２３４５６７８@ims.example",
        "sip:%EF%BC%8B66%C2%A0812345678@ims.example",
        "sip:+66%A0812345678@ims.example",
        "\ufefftel:+66812345678",
        "sip:+66-81-234-5678",
        "sip:812345678@ims.example;phone-context=+66",
        "sip:812345678;phone-context=%2B66@ims.example",
        "tel:812345678;phone-context=＋66",
        "tel:812345678;Phone-Context=+66;isub=12",
        "sip:0812345678;phone-context=+44@ims.example",
        '<sip:+66812345678@x>;note="<sip:+66899999999@x>"',
    ],
)
def test_spellings_of_one_number(text):
    """Whatever way a switch writes it, on a Thai trunk it is one and the same number."""
    assert THAI == parse(text, "TH") == parse(text, "th")


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("2025550123", "US", "+12025550123"),
        ("12025550123", "US", "+12025550123"),
        ("01144 7700 900123", "US", "+447700900123"),
        ("07700900123", "GB", "+447700900123"),
        ("0555123456", "IT", "+390555123456"),
        ("+390555123456", None, "+390555123456"),
        ("09012345678", "JP", "+819012345678"),
        ("13812345678", "CN", "+8613812345678"),
        ("+8613812345678", None, "+8613812345678"),
        ("+861791213812345678", None, "+8613812345678"),
        ("+5491123456789", None, "+5491123456789"),
        ("85523900123", "TH", "+85523900123"),
        ("8562055512345", "TH", "+8562055512345"),
        ("tel:0812345678;phone-context=+66", "US", "+66812345678"),
        ("tel:0812345678;phone-context=ims.example", "TH", "+66812345678"),
    ],
)
def test_regions(text, region, e164):
    """Digits without `+` are read as dialled in the region, else as international."""
    number = parse(text, region)
    assert (number.text if number.kind is Kind.E164 else None) == e164


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("491713920012", "DE"),
        ("62812555010", "ID"),
        ("62217555010", "ID"),
        ("358134388", "FI"),
        ("38343755501", "XK"),
    ],
)
def test_digits_with_the_regions_own_code_are_international(text, region):
    """German mobiles without `+` were read as numbers of an area that nobody has."""
    assert parse(text, region).text == f"+{text}"
    # With the trunk prefix it is a national number, which also begins with the code.
    code = phonenumbers.country_code_for_region(region)
    assert parse(f"0{text}", region).text == f"+{code}{text}"


def test_a_service_number_gives_way_to_a_mobile():
    """Viet Nam's mobiles that begin with 84, without their 0: +84 1992000 calls nobody."""
    assert parse("841992000", "VN").text == "+84841992000"


def test_national_reading_wins():
    """Digits that both a national and a foreign plan assign are the trunk's own number."""
    assert parse("2025550123", "US").text == "+12025550123"
    assert phonenumbers.is_possible_number(phonenumbers.parse("+2025550123"))


@pytest.mark.parametrize("text", ["0812345678", "66812345678", "2025550123", "812345678"])
def test_nothing_is_guessed_without_region(text):
    """Digits without `+` and without a region are no number: a guess could block an innocent."""
    assert parse(text, None) == Number(Kind.INVALID, text)


@pytest.mark.parametrize("region", [None, "", "XX", "001", "TH\0", "ไทย"])
def test_odd_regions(region):
    """A region that is none only matters for national numbers, and then there is none."""
    assert parse("0812345678", region).kind is Kind.INVALID
    assert parse("+66 812345678", region) == THAI


@pytest.mark.parametrize(
    "text",
    [
        None, "", " ", '""', "<>", '"" <>', "anonymous", "Anonymous", "ANONYMOUS", "unavailable",
        "Unavailable", "restricted", "withheld", "private", "Private Number", "unknown", "Unknown",
        "<unknown>", "Coverage unavailable", "caller-id_withheld", "Number Withheld", "(null)",
        "N/A", "0", "0000000000", "-", "P", "O", "sip:anonymous@anonymous.invalid",
        "anonymous.invalid",
        "sip:anonymous.invalid", "sips:Anonymous@192.0.2.1", "sip:unavailable@unknown.invalid",
        "sip:restricted@ims.example", '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=3',
        "tel:anonymous", "sip:@ims.example", "anonymous@anonymous.invalid",
    ],
)  # fmt: skip
def test_withheld(text):
    """Every spelling of "no number to show" is one value, and no error."""
    assert WITHHELD == parse(text, "TH") == parse(text, None)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("1155", "1155"),
        ("191", "191"),
        ("000", "000"),
        ("sip:1155@ims.example", "1155"),
        ("tel:191;phone-context=+66", "191"),
        ("1 1 5 5", "1155"),
        ("17", "17"),
        ("45510", "45510"),
    ],
)
def test_short_codes(text, digits):
    """Up to six digits are a short code, in any spelling, in any region."""
    for region in ("TH", "DE", "US", None):
        assert Number(Kind.SHORT_CODE, digits) == parse(text, region)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("KBank", "KBank"),
        ("AIS-Info", "AIS-Info"),
        ("SCB EASY", "SCB EASY"),
        ("7-Eleven", "7-Eleven"),
        ("ธนาคาร", "ธนาคาร"),
        ("ที่ดิน", "ที่ดิน"),
        ("sip:alice@ims.example", "alice"),
        ("1800FLOWERS", "1800FLOWERS"),
    ],
)
def test_names(text, name):
    """A sender's name is a name: letters are never read as digits of a keypad."""
    assert Number(Kind.ALPHANUMERIC, name) == parse(text, "US")


@pytest.mark.parametrize(
    "text",
    [
        "+", "++66812345678", "+ ", "+-", "-()", "+66812345678x", "+66a12345678", "+6681234567a",
        "+6681234567812345", "+66812345678123456", "6" * 20, "+" + "6" * 5000, "9" * 100_000,
        "+66²812345678", "+6681234567⑧", "+66812345678Ⅷ", "+66\u2028812345678", "+66\x0b812345678",
        "+66812345678\0", "\0+66812345678", "+66\n812345678", "+66812345678,+66812345679",
        "+66812345678 ext 5", "08123 45678x9", "abc0812345678", "+999123456789", "+0812345678",
        "203.0.113.25", "sip:203.0.113.25", "sip:ims.example", "h323:+66812345678", "<scr:pt>",
        "\ud800", "+66\ud80012345678", "+661", "+15550123", "5550123",
        "+66 812 345 678" + " " * 300 + "9",
        "urn:service:sos", "*100#", "a" * 33, "%", "%2B", "%00", "sip:", "tel:", ";", "@@", "1",
    ],
)  # fmt: skip
def test_garbage(text):
    """A text that is no number is INVALID with its beginning kept, or withheld; never a match."""
    number = parse(text, "US")
    assert number.kind in (Kind.INVALID, Kind.ANONYMOUS)
    assert len(number.text) <= RAW_MAX
    many = parse_many([text, "+66812345678"], lambda _row: "US")
    assert many.kinds.tolist() == [number.kind, Kind.E164]
    assert many.e164.tolist() == [b"", b"+66812345678"]


def test_long_text_takes_no_time():
    """A text as long as a record may be is read in under a millisecond a piece."""
    texts = [c * 262_144 for c in "+0a<@;% .-"] + ["%2B" * 80_000, "<" * 200_000 + ">"]
    begin = time.process_time()
    for text in texts:
        parse(text, "TH")
        masked(text)
    assert time.process_time() - begin < 0.05 * len(texts)


def test_cut_does_not_make_a_number():
    """A text cut at the limit is no number, unless the number had ended before."""
    assert parse("0812345678" + " " * TEXT_MAX + "9", "TH").kind is Kind.INVALID
    assert parse("sip:0812345678@" + "h" * TEXT_MAX, "TH") == THAI


def test_second_trunk_prefix():
    """A number that would change if it were read again is no number."""
    assert parse("+6600812345678", None).kind is Kind.INVALID


def test_batch():
    """A batch holds each row's kind, its E.164 or its text, and asks regions only where needed."""
    asked = []

    def region(row):
        asked.append(row)
        return "TH"

    texts = ["+66812345678", None, "0812345678", "KBank", "1155", "x\ny", "+447700900123"]
    numbers = parse_many(texts, region)
    assert len(numbers) == 7
    assert np.dtype("S16") == numbers.e164.dtype
    assert np.uint8 == numbers.kinds.dtype
    assert numbers.kinds.tolist() == [1, 4, 1, 3, 2, 0, 1]
    assert [numbers.text(row) for row in range(7)] == [
        "+66812345678", "anonymous", "+66812345678", "KBank", "1155", "x\ny", "+447700900123",
    ]  # fmt: skip
    assert asked == [1, 2, 3, 4, 5]


def test_empty_batch():
    """No texts, no numbers."""
    numbers = parse_many([], lambda _row: None)
    assert len(numbers) == 0
    assert numbers.e164.shape == (0,)


def test_clean_batch_never_asks():
    """A batch in E.164 is read without a step of Python for each row."""

    def never(_row):
        raise AssertionError

    texts = [f"+447700900{n:03d}" for n in range(1000)]
    assert parse_many(texts, never).e164.tolist() == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+66812345678", "+6681***5678"),
        ("0812345678", "08***78"),
        ("191", "1***"),
        ("17", "***"),
        ("", ""),
        ("anonymous", "anonymous"),
        ("KBank", "KBank"),
        ("sip:+66812345678@ims.example", "sip:+6681***5678@ims.example"),
        ("+66812345678,+66898765432", "+6681***5678,+6689***5432"),
        ("+66 81-234 5678", "+66 81***5678"),
        ("+66812\u200b345678", "+6***?3***"),
        ("0812345678\n", "08***78?"),
        ("+٦٦٨١٢٣٤٥٦٧٨", "+٦٦٨١***٥٦٧٨"),
    ],
)
def test_masked(text, shown):
    """Logs hold the ends of a number, and one line."""
    assert shown == masked(text)


@pytest.mark.parametrize(
    ("e164", "region"),
    [
        ("+66812345678", "TH"),
        ("+447700900123", "GB"),
        ("+12025550123", "US"),
        ("+14165550123", "CA"),
        ("+77012345678", "KZ"),
        ("+79123456789", "RU"),
        ("+80012345678", None),
        ("+999123456789", None),
        ("anonymous", None),
        ("", None),
        ("+", None),
    ],
)
def test_region_of(e164, region):
    """A number's region is known, also where regions share a country code."""
    assert region == region_of(e164)
