"""The first page: what happens now, live by server-sent events, and whole without them."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from stream.edge.http.tokens import Role
from stream.web.page_context import page_parts_of
from stream.web.session_deps import Visit, sees, watcher

router = APIRouter(include_in_schema=False)

_EVENTS: Final = "text/event-stream"


@router.get("/")
async def overview(visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """The figures of the last look; scripts keep them new."""
    live = visit.parts.live
    return visit.page("overview.html", **live.given(live.seen))


@router.get("/events")
async def events(
    request: Request, still: Annotated[Callable[[], bool], Depends(watcher)]
) -> Response:
    """Figures as they come, each with the points that the charts do not have yet."""
    live = page_parts_of(request).live
    # Begun before it is answered, so that one too many is told 503 and not an empty stream.
    stream = live.events(request.headers.get("last-event-id", ""))
    first = await anext(stream)

    async def whole() -> AsyncIterator[bytes]:
        try:
            yield first
            async for part in stream:
                if not still():
                    return
                yield part
        finally:
            await stream.aclose()

    return StreamingResponse(whole(), media_type=_EVENTS, headers={"X-Accel-Buffering": "no"})
