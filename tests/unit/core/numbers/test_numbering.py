"""The generated tables are what the installed phonenumbers would give today."""

import random

import phonenumbers

from stream.core.numbers.e164 import E164_DIGITS_MAX, canonical_words, is_canonical
from tests.tools import make_numbering


def test_generated():
    """The tables are as their generator writes them today."""
    assert make_numbering.TABLES.read_text(encoding="utf-8") == make_numbering.written()


def phonenumbers_reads_as_itself(text):
    """Return if phonenumbers holds `text` to be possible, and to be its own E.164 form."""
    try:
        reading = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return False
    reason = phonenumbers.is_possible_number_with_reason(reading)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE or len(text) > E164_DIGITS_MAX + 1:
        return False
    return phonenumbers.format_number(reading, phonenumbers.PhoneNumberFormat.E164) == text


def every_plan_texts():
    """`+` numbers of every country code, beginning and length; seeded."""
    rnd = random.Random(3)
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        for first in range(100):
            size = rnd.randrange(1, 15)
            rest = "".join(rnd.choice("0123456789") for _ in range(size))
            yield f"+{code}{first:02d}{rest}"


def test_table_only_takes_what_phonenumbers_takes():
    """Over all country codes, the table takes no text that phonenumbers would write differently."""
    texts = list(every_plan_texts())
    taken = canonical_words(texts)[:, 0] != 0
    assert taken.sum() > 3_000
    wrong = [
        t for t, ok in zip(texts, taken, strict=True) if ok and not phonenumbers_reads_as_itself(t)
    ]
    assert wrong == []


def test_table_takes_nearly_all_that_phonenumbers_takes():
    """The table leaves few to phonenumbers: those that may begin with a trunk prefix."""
    right = [text for text in every_plan_texts() if phonenumbers_reads_as_itself(text)]
    taken = canonical_words(right)[:, 0] != 0
    assert taken.mean() > 0.96


def test_one_and_many_agree():
    """One text by itself gets the answer that it gets in a batch."""
    texts = list(every_plan_texts())
    taken = canonical_words(texts)[:, 0] != 0
    assert [is_canonical(text[1:]) for text in texts] == taken.tolist()
