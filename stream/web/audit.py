"""Who changed what, when and why: the register's audit, newest first."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response

from stream.edge.http.tokens import Role
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.history import detail_of, place_of
from stream.web.listing import ROWS, Asked
from stream.web.session_deps import Visit, sees

router = APIRouter(include_in_schema=False)

LOOKED_AT_MAX: Final = 50_000
"""Entries that one page looks through for what is asked, about 0.1 s of Redis' time."""
_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")


@router.get("/audit")
async def audit(request: Request, visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """A page of entries, and where the next one begins. A bookmark goes on meaning the same."""
    asked = Asked.of(request, ["list", "actor", "what", "before"], ["newest"])
    wanted, before = asked.filters, asked.filters["before"]
    past = (await visit.parts.list_store()).past
    entries: list[AuditEntry] = []
    last, looked_at = "", 0
    async for entry in past.audit(before=before if _ID.fullmatch(before) else ""):
        looked_at += 1
        if _asked_for(entry, wanted["list"], wanted["actor"], wanted["what"]):
            entries.append(entry)
        if len(entries) == ROWS or looked_at == LOOKED_AT_MAX:
            last = entry.id
            break
    return visit.page(
        "audit.html",
        asked=asked,
        entries=[(entry, place_of(entry), detail_of(entry)) for entry in entries],
        head=await past.audit_head(),
        older=asked.address(before=last) if last else "",
        newest=asked.address(before="") if before else "",
        looked_at=looked_at,
    )


def _asked_for(entry: AuditEntry, name: str, actor: str, what: str) -> bool:
    return (
        name in {"", place_of(entry)}
        and actor.lower() in entry.actor.lower()
        and entry.op.startswith(what)
    )
