"""The audit's chain: what breaks it, and what is found then."""

import pytest

from stream.lists.store.audit_entries import AuditEntry, AuditHead, Verification, hash_of

Item = tuple[str, dict[bytes, bytes]]


def chain(count: int) -> list[Item]:
    """Entries as the list store writes them."""
    items: list[Item] = []
    before = b""
    for number in range(1, count + 1):
        fields = {
            b"number": b"%d" % number,
            b"at_s": b"1795564428",
            b"actor": b"somchai",
            b"reason": b"appeal %d" % number,
            b"list": b"TH/national",
            b"op": b"remove",
            b"generation": b"%d" % number,
            b"detail": b"+4477***0001",
            b"count": b"7",
            b"before": before,
        }
        fields[b"hash"] = before = hash_of(before, fields).encode()
        items.append((f"{number}-0", fields))
    return items


def verified(items: list[Item], whole: list[Item], kept_max: int = 100, noted: str = ""):
    last = AuditEntry.of(*whole[-1])
    found = Verification(AuditHead(last.number, last.hash, last.id, last.id), kept_max, noted)
    for identity, fields in items:
        found.take(identity, fields)
    found.finish()
    return found


def troubles(items: list[Item], kept_max: int = 100) -> list[str]:
    return [f"{t.where}: {t.what}" for t in verified(items, chain(9), kept_max).troubles]


def test_a_whole_audit():
    """Nothing is wrong with what the list store wrote, and the verified span is said."""
    found = verified(chain(9), chain(9))
    assert (found.troubles, found.first, found.last) == ([], 1, 9)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda a: a.pop(4), "entry 6: follows entry 4: entry 5 is missing"),
        (lambda a: a.__delitem__(slice(2, 5)), "entries 3 to 5 are missing"),
        (lambda a: a[4][1].update({b"reason": b"another"}), "entry 5: was changed"),
        (lambda a: a[4][1].update({b"actor": b"somcha", b"reason": b"i..."}), "was changed"),
        (lambda a: a.insert(3, a.pop(5)), "entry 4: stands after entry 6"),
        (lambda a: a.insert(5, a[4]), "entry 5: stands after entry 5"),
        (lambda a: a.pop(), "the end: entry 9 is missing: cut off at the end"),
        (lambda a: a.clear(), "the end: entries 1 to 9 are missing"),
        (
            lambda a: a.pop(0),
            "entry 2: is the oldest, entry 1 is missing: the list store cuts none off",
        ),
        (lambda a: a.append(("99-0", {b"actor": b"x"})), "99-0: an entry without a number"),
        (lambda a: a.extend(chain(10)[9:]), "the end: the head knows 9 entries, there are 10"),
    ],
)
def test_what_was_done_to_it_is_found(damage, says):
    """An entry that is missing, changed, moved, repeated, cut off or put in is found, and where."""
    items = chain(9)
    damage(items)
    assert says in " | ".join(troubles(items))


def test_an_entry_that_was_changed_with_its_hash():
    """One who rewrites the hash of one entry is found at the entry after it."""
    items = chain(9)
    fields = items[4][1]
    fields[b"reason"] = b"another"
    fields[b"hash"] = hash_of(fields[b"before"], fields).encode()
    assert troubles(items) == [
        "entry 6: does not follow the entry before: that one is another than it was"
    ]
    assert troubles(items[:5] + chain(9)[5:]) != []


def test_the_oldest_are_cut_off_by_design():
    """When as many are kept as are wanted, those before them are no alarm, and it is said."""
    found = verified(chain(9)[3:], chain(9), kept_max=6)
    assert (found.troubles, found.first) == ([], 4)
    assert "is the oldest" in troubles(chain(9)[4:], kept_max=6)[0]


def test_a_noted_head():
    """A history that was rewritten from the beginning is whole in itself, but not the one noted."""
    noted = AuditEntry.of(*chain(9)[6]).hash
    assert verified(chain(9), chain(9), noted=noted).noted_at == 7
    forged = chain(9)
    before = b""
    for _, fields in forged:
        fields |= {b"actor": b"nobody", b"before": before}
        fields[b"hash"] = before = hash_of(before, fields).encode()
    assert verified(forged, forged).troubles == []
    assert "rewritten" in verified(forged, forged, noted=noted).troubles[0].what


def test_entries_from_before_the_chain():
    """Entries that an older version wrote are counted, and no alarm."""
    found = verified([("0-1", {b"actor": b"x"}), *chain(9)], chain(9))
    assert (found.troubles, found.unchained) == ([], 1)
