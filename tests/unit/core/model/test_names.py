"""One rule says what things may be called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model.names import NameKind, alike, readable, wrong
from stream.doctor import machine_checks

LISTS = ("TH/national", "KH/scam", "CERT/misp-feed", "US/ftc-dnc", "ITU/a.b_c", "XX/0")
NO_LISTS = (
    *("", "/", "TH", "TH/", "/x", "TH//x", "TH/a/b", "TH/..", "TH/.", "TH/-rf", "TH/--config=x"),
    *("../x", "-rf/x", "--help/x", "TH/x y", "TH/x\n", "TH/\0", "TH/ไทย", "TH/" + "x" * 65),
    *("th/x", "Th/x", "T/x", "T1/x", "12/x", "A" * 41 + "/x", "root/x", "Targets/x", "snapshot/x"),
    *("TH/x\\y", "C:/x", "TH/x~", "TH/*", "TH/$x", 'TH/"', "TH /x", " TH/x"),
)


@pytest.mark.parametrize("name", LISTS)
def test_lists_may_be_called_so(name: str) -> None:
    """Owners are countries or organisations."""
    assert wrong(NameKind.LIST, name) is None
    assert readable(name)


@pytest.mark.parametrize("name", NO_LISTS)
def test_nothing_new_is_called_so(name: str) -> None:
    """Options, folders, roles that sign for all, and what only differs to a machine."""
    said = wrong(NameKind.LIST, name)
    assert said is not None
    assert said.isprintable()


def test_a_country_in_small_letters_is_told_how_to_be_written() -> None:
    """It is what people type."""
    assert str(wrong(NameKind.LIST, "kh/scam")).endswith('not "kh/scam"; did you mean "KH/scam"?')
    assert str(wrong(NameKind.OWNER, "kh")).endswith('did you mean "KH"?')


@pytest.mark.parametrize("name", ["kh/scam", "T1/x", "a_b/c", "root/x"])
def test_what_is_there_can_still_be_read(name: str) -> None:
    """A list from before the rule is not lost for its name, as long as it leads nowhere."""
    assert readable(name)


@pytest.mark.parametrize("name", ["TH/..", "TH/-rf", "../x", "TH/a/b", "TH/x\n", "TH"])
def test_what_leads_somewhere_is_never_read(name: str) -> None:
    """Also not from a partner's manifest."""
    assert not readable(name)


@pytest.mark.parametrize(
    ("kind", "right", "refused"),
    [
        (
            NameKind.OWNER,
            ("TH", "ITU", "ASEAN-CERT"),
            ("", "th", "..", "-x", "a b", "root", "x/y", "T"),
        ),
        (NameKind.ID, ("kh-scam", "th-kh-2025"), ("", "KH", "-x", "a_b", "a/b", "..", "x" * 41)),
        (
            NameKind.CIRCLE,
            ("asean", "asean@2", "a.b_c"),
            ("", "ASEAN", "-x", "..", "a@0", "a@x", "a/b"),
        ),
        (NameKind.KEY, ("root-1", "KH~scam-2"), ("", "-x", "..", "a/b", "~x")),
        (NameKind.CLIENT, ("switch-1", "KH"), ("", "-", "a b", "a/b", "x" * 41)),
    ],
)
def test_every_kind_has_its_rule(
    kind: NameKind, right: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    """Each is a file's name, a label or a word of a command."""
    assert [wrong(kind, name) for name in right] == [None] * len(right)
    assert all(wrong(kind, name) for name in refused)


@pytest.mark.parametrize("kind", NameKind)
@given(st.text(max_size=70))
def test_no_name_leads_anywhere(kind: NameKind, name: str) -> None:
    """Whatever is let through is one word, no option, and at most one folder deep."""
    if wrong(kind, name) is None:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@~/-]*", name)
        assert not any(part in {"", ".", ".."} or part[0] == "-" for part in name.split("/"))
        assert name.count("/") == (kind is NameKind.LIST)


def test_capitals_make_no_other_name() -> None:
    """A correction of one of two lists would reach the wrong one."""
    assert alike("KH/scam", ["TH/national", "kh/SCAM"]) == "kh/SCAM"
    assert alike("KH/scam", ["KH/scam", "KH/scams"]) is None


def test_doctor_names_odd_lists() -> None:
    """From before the rule: they go on, and a warning names them."""
    lines = list(machine_checks.name_lines({"TH/..", "KH/scam", "KH/Scam", "TH/national"}))
    assert [(str(line.grade), line.said.split(" ", 1)[0]) for line in lines] == [
        ("warn", "KH/Scam"),
        ("warn", "KH/scam"),
        ("warn", '"TH/.."'),
    ]
    assert "differ by capitals alone" in lines[0].said
