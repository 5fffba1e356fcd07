"""Take pictures of the page with the demo in it: `make picture`.

The demo runs with `--stay`, and a headless Chromium signs in as its reader would. Without an
option the picture of README and docs is taken; `--all DIR` takes every page, at 1440 and 390
pixels, light and dark, for a person to look at.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from stream.web.session_deps import ENTRIES
from tests.support.browser import PHONE, WIDE, chromium
from tests.support.demo import ROOT, Played, end_all

PICTURE: Final = ROOT / "deploy" / "page.png"
POINTS_MIN: Final = 12
"""Points of the charts before the picture is taken: a minute of looks."""
_WINDOW: Final = {"width": 1440, "height": 1000}


@contextmanager
def staying(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Run the demo until the block ends; give the page's address and a token."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "stream", "demo", "--plain", "--stay", *options]
        demo = Played(Path(folder), words)
        try:
            demo.until("until Ctrl-C")
            yield reached(demo.printed)
            demo.interrupt()
            demo.ended()
        finally:
            end_all()


def reached(printed: str) -> tuple[str, str]:
    """Return the address of the page and the token from the demo's output."""
    address = printed.partition("The page: ")[2].split()[0]
    return address, printed.partition("the token ")[2].split()[0]


async def take(address: str, token: str, picture: Path, points_min: int = POINTS_MIN) -> None:
    """Save the overview, once its charts have some points."""
    async with chromium() as browser:
        page = await browser.new_page(viewport=_WINDOW)  # type: ignore[arg-type]
        await _signed_in(page, address, token)
        await page.wait_for_function(
            "least => document.querySelectorAll('[data-part=told] tbody tr').length >= least",
            arg=min(points_min, 10),
        )
        await page.screenshot(path=picture)


async def take_all(address: str, token: str, folder: Path) -> None:
    """Save every page of the navigation, and one of each kind behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    async with chromium() as browser:
        page = await browser.new_page(timezone_id="Asia/Bangkok")
        await _signed_in(page, address, token)
        await page.wait_for_selector("[data-chart=calls] canvas")
        for name in [entry.address for entry in ENTRIES] + await _behind(page, address):
            for scheme in ("light", "dark"):
                for wide, size in ((1440, WIDE), (390, PHONE)):
                    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                    await page.set_viewport_size(size)  # type: ignore[arg-type]
                    await page.goto(address.rstrip("/") + name)
                    if name == "/":
                        await page.wait_for_selector("[data-chart=calls] canvas")
                    stem = name.strip("/").replace("/", "_") or "overview"
                    shot = folder / f"{stem}-{wide}-{scheme}.png"
                    await page.screenshot(path=shot, full_page=name != "/runbook")


async def _behind(page: Page, address: str) -> list[str]:
    """Return the address of the first list, feed, agreement and appeal."""
    found = []
    for table in ("/lists", "/feeds", "/agreements", "/appeals"):
        await page.goto(address.rstrip("/") + table)
        link = await page.locator("tbody th a").first.get_attribute("href")
        found.append(link or table)
    return found


async def _signed_in(page: Page, address: str, token: str) -> None:
    await page.goto(address)
    await page.fill("#token", token)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:text('Overview')")


def main() -> None:
    """Take the picture of the docs, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page, at both widths")
    parser.add_argument("--at", nargs=2, metavar=("URL", "TOKEN"), help="a demo that runs")
    given = parser.parse_args()

    def shoot(address: str, token: str) -> None:
        if given.all:
            asyncio.run(take_all(address, token, given.all))
        else:
            asyncio.run(take(address, token, given.out))

    if given.at:
        shoot(*given.at)
        return
    with staying([]) as (address, token):
        shoot(address, token)


if __name__ == "__main__":
    main()
