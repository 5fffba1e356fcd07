"""Addresses of files on servers, and the names that count."""

import pytest

from stream.ops.remote.remote_files import address_in, is_remote, is_wanted, remote_url


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://cdr/switch-1/", ("s3", "", "cdr", 0, "switch-1/")),
        ("s3://cdr/", ("s3", "", "cdr", 0, "")),
        ("s3://cdr/a b?c#d.csv", ("s3", "", "cdr", 0, "a b?c#d.csv")),
        ("sftp://me@host/out/", ("sftp", "me", "host", 22, "/out/")),
        ("sftp://me@host:2222/~/out/", ("sftp", "me", "host", 2222, "out/")),
        ("sftp://me@[2001:db8::1]:2222/f", ("sftp", "me", "2001:db8::1", 2222, "/f")),
        ("sftp://me@[2001:db8::1]/f", ("sftp", "me", "2001:db8::1", 22, "/f")),
    ],
)
def test_an_address_is_read_as_it_stands(text: str, parts: tuple[object, ...]) -> None:
    """Nothing in it is decoded; a login is no part of what is shown, and of what is remembered."""
    address = address_in(text)
    assert tuple(address) == parts
    assert address.is_folder is (text.endswith("/"))
    assert "me@" not in str(address)
    assert ("me@" in address.key) is (address.scheme == "sftp")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://host/list", "must begin"),
        ("s3:///key", "no bucket"),
        ("s3://key:secret@cdr/", "no secret"),
        ("sftp://me:word@host/out/", "no secret"),
        ("sftp://host/out/", "USER@HOST"),
        ("sftp://me@host", "USER@HOST"),
        ("sftp://me@host:ssh/out/", "no port"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, why: str) -> None:
    """Without the secret that it may hold."""
    with pytest.raises(ValueError, match=why) as caught:
        address_in(text)
    assert "word" not in str(caught.value)
    assert remote_url("s3")(text) == str(caught.value)


def test_addresses_are_told_from_paths() -> None:
    """A path of this machine is none, and an address of the other kind is refused."""
    assert [is_remote(text) for text in ("s3://b/", "sftp://h/", "/s3/b", "file://x", "s3:")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert remote_url("s3")("sftp://me@host/f") == 'must begin with "s3://"'


def test_hidden_and_unfinished_names_do_not_count() -> None:
    """Neither in a folder of that kind."""
    names = ("a.csv", "b/c.csv.gz", ".a", "b/.c/d", "a.part", "a~", "b/")
    assert [is_wanted(name) for name in names] == [True, True, *[False] * 5]
