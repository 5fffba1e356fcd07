"""The command that takes the picture of README and docs: `make picture`."""

from pathlib import Path

import pytest

from stream.edge.http.tokens import ClientRole
from tests.browser.conftest import Site
from tests.support.http_service import TOKENS
from tests.tools.page_pictures import reached, take

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_the_picture_is_taken_by_a_command(site: Site, tmp_path: Path) -> None:
    """It signs in with what the demo prints, waits for the charts, and saves a PNG."""
    token = TOKENS[ClientRole.OPERATOR]
    printed = f"\nThe page: {site.address}/  Sign in with the token {token}\nIt stays, with 100 ..."
    picture = tmp_path / "page.png"
    await take(*reached(printed), picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
