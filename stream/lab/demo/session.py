"""One session of the demo, from its first line to its last; what it starts, `closing` ends."""

import argparse
import asyncio
import os
import secrets
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
from rich.console import Console

from stream.lab.demo.material import Scale, make_material
from stream.lab.demo.product import child_environment
from stream.lab.demo.run import Result, Run
from stream.lab.demo.servers import get_servers, leave_no_trace
from stream.lab.demo.show import as_svg
from stream.lab.demo.stay import Page
from stream.lab.demo.stop import Stop
from stream.lab.demo.summary import summary


def session(options: argparse.Namespace, closing: ExitStack, stop: Stop) -> bool:
    """Servers, material, run, figures; whether all was right. Raises DemoFailed, Interrupted."""
    began_s = time.monotonic()
    os.environ.update(child_environment(os.environ))
    console = Console(highlight=False)
    plain = options.plain or not console.is_terminal
    mark = secrets.token_hex(4)
    folder = Path(tempfile.gettempdir()) / f"ringfence-demo-{mark}"
    closing.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    scale = Scale(options.calls, options.numbers, options.seed)
    pool = ThreadPoolExecutor(1)
    closing.callback(pool.shutdown, cancel_futures=True)
    # Made while the broker starts: both take some seconds, and there are two cores.
    making = pool.submit(make_material, scale, folder, int(time.time()))
    with console.status("Starting a broker and a Redis ...") as status:
        servers = get_servers(options.broker, options.redis, mark, closing, status.update)
    console.print(servers.line, soft_wrap=True)
    if servers.note:
        console.print(f"No better ones here: {servers.note}", style="bright_black", soft_wrap=True)
    closing.callback(lambda: asyncio.run(leave_no_trace(servers)))
    run = Run(servers, making.result(), scale, folder, began_s)

    def told(result: Result) -> None:
        if options.json:
            figures = msgspec.json.format(msgspec.json.encode(result.figures))
            options.json.write_bytes(figures + b"\n")
        if options.picture:
            options.picture.write_text(as_svg(result.picture), encoding="utf-8")
        console.print(summary(result, time.monotonic() - began_s))

    page = Page(folder) if options.stay else None
    result = stop.run(run.run(console, plain=plain, page=page, told=told))
    if not options.plain:
        console.print("To see it as a page: make demo DEMO_ARGS=--stay", style="bright_black")
    return result.verdicts.clean
