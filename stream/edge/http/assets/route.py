"""`/assets/NAME.HASH.ENDING`: the files that pages load."""

from typing import Final

from fastapi import APIRouter, Request, Response

from stream.edge.http.assets import BY_ADDRESS, PREFIX
from stream.edge.http.problems import Kind, ProblemError

router = APIRouter(include_in_schema=False)

_FOREVER: Final = "public, max-age=31536000, immutable"


@router.get(PREFIX + "/{name}")
async def get(request: Request, name: str) -> Response:
    """The file. No token: there is nothing in it that is not in the source."""
    request.scope["state"]["quiet"] = True
    found = BY_ADDRESS.get(f"{PREFIX}/{name}")
    if found is None:
        raise ProblemError(Kind.NOT_FOUND, "there is no such file (any more)")
    headers = {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
    data = found.data
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        data = found.compressed
    return Response(data, headers=headers, media_type=found.media_type)
