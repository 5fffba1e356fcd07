"""Results of STIR/SHAKEN: any text ends as one of a few values, in linear time."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.stir.attestation import (
    TEXT_MAX,
    VERSTATS,
    Attested,
    read_level,
    read_verstat,
    verstat_of_uri,
)


@given(st.text(max_size=2 * TEXT_MAX) | st.sampled_from([*VERSTATS, "A", "full", "\0"]))
def test_any_text_is_a_result(text):
    """One that nobody knows is unsure: no rule follows from it."""
    assert read_verstat(text) in Attested
    assert read_level(text) in Attested
    if text.strip().lower() not in {known.lower() for known in VERSTATS}:
        assert read_verstat(text) is Attested.UNSURE


@given(
    st.sampled_from(list(VERSTATS)),
    st.sampled_from([str.upper, str.lower, str.title, " {} ".format]),
)
def test_case_and_space_do_not_matter(text, change):
    """Switches write them in several ways."""
    assert read_verstat(change(text)) is VERSTATS[text]


@given(st.text(st.sampled_from('";<>= verstatVERSTAT-:@'), max_size=300))
def test_a_name_before_the_uri_gives_no_result(text):
    """Whatever stands in quotation marks or before `<` is the caller's own."""
    name = text.replace('"', "").replace("<", "").replace(">", "")
    assert verstat_of_uri(f'"{name};verstat=TN-Validation-Passed" <tel:+447700900999>') == ""
    assert verstat_of_uri(f"{name};verstat=TN-Validation-Passed <tel:+447700900999>") == ""
    assert verstat_of_uri(text)[:1] != "<"
