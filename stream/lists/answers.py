"""What Redis answers, as our words."""

from collections.abc import Mapping, Sequence

from stream.lists.records import Step
from stream.lists.words import AllowHead, ListHead


def list_head(name: str, fields: Sequence[bytes], changes: int) -> ListHead:
    """A head from its fields in the order of the scripts."""
    generation, base, chain, circle, count, created_at_s, actor = fields
    return ListHead(
        name=name,
        generation=int(generation),
        base=int(base),
        chain=chain.decode(),
        circle=circle.decode(),
        count=int(count),
        created_at_s=int(created_at_s),
        actor=actor.decode(),
        changes=changes,
    )


def allow_head(fields: Sequence[bytes | None]) -> AllowHead:
    """The allowlist's head; all zero where there is none."""
    generation, chain = fields
    return AllowHead(int(generation or 0), (chain or b"").decode())


def step(item: tuple[bytes, Mapping[bytes, bytes]]) -> Step:
    """A step from an item of the change stream."""
    identity, fields = item
    return Step(
        id=identity.decode(),
        name=fields[b"list"].decode(),
        generation=int(fields[b"generation"]),
        op=fields[b"op"].decode(),
        payload=fields[b"payload"],
        chain=fields[b"chain"].decode(),
    )
