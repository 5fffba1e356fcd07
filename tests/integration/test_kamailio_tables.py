"""The blocklist in Kamailio's own memory, by the lines of docs/how-to/ask/http.md."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.edge.http.blocklist import BlockedNumber
from stream.edge.http.blocklist_routes import Form, head, portion
from stream.edge.sinks.number_policy import Blocked
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.engine import ROOT
from tests.support.kamailio import HOST, answered, answers_options

pytestmark = pytest.mark.needs_kamailio

GUIDE = ROOT / "docs" / "how-to" / "ask" / "http.md"
AROUND = """\
debug = 2
listen = udp:{host}:{port}
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:{folder}/control")
{guide}
request_route {{
    if (is_method("INVITE")) {{
        route(RINGFENCE_TABLES);
    }}
    sl_send_reply("200", "OK");
}}
"""
WHY = Blocked("KH/scam", "call_centre", 0)
FIRST, SECOND, SPARED, INSIDE = "+85523900123", "+85523900124", "+85523910002", "+85523910001"
PREFIX = BlockedNumber("+8552391*", WHY)


def write(folder: Path, *items: BlockedNumber) -> None:
    """Write both tables as `ringfence serve` answers with them, a second after the last."""
    for form, name in ((Form.HTABLE, "htable"), (Form.MTREE, "mtree")):
        file = folder / name
        before_s = int(file.stat().st_mtime) if file.exists() else 0
        file.write_bytes(head(form, "", full=True) + portion(form, items, first=True))
        at_s = max(before_s + 1, int(time.time()))
        os.utime(file, (at_s, at_s))


@pytest.fixture
def proxy() -> Iterator[tuple[Server, Callable[[str], int]]]:
    """Kamailio with the guide's lines, and a call of a number to it."""
    folder = new_folder("tables")
    (port,) = free_ports(1)
    (guide,) = (
        part for part in GUIDE.read_text().split("```text\n") if part.startswith("loadmodule")
    )
    lines = guide.partition("```")[0].replace("/var/lib/kamailio/ringfence", str(folder))
    config = folder / "kamailio.cfg"
    config.write_text(AROUND.format(host=HOST, port=port, folder=folder, guide=lines))
    write(folder, BlockedNumber(FIRST, WHY), PREFIX, BlockedNumber(SPARED, None))
    words = ["kamailio", "-f", str(config), "-DD", "-E", "-Y", str(folder), "-w", str(folder)]
    with Server("Kamailio", port, folder, words, answers_options) as server:
        server.start()
        yield server, lambda user: answered(port, f"<sip:{user}@{HOST}>;tag=a", "0212345678")
        server.stop()


def test_tables_are_followed(proxy: tuple[Server, Callable[[str], int]]) -> None:
    """Numbers and prefixes block, an exception passes; a reload unblocks, and adds; ends count."""
    server, call = proxy
    found = {number: call(number) for number in (FIRST, SECOND, SPARED, INSIDE, "anonymous")}
    assert found == {FIRST: 603, SECOND: 200, SPARED: 200, INSIDE: 603, "anonymous": 200}
    past = Blocked("KH/scam", "call_centre", int(time.time()) - 5)
    write(server.folder, BlockedNumber(SECOND, WHY), BlockedNumber(SPARED, past))
    for command in ("htable.reload", "mtree.reload"):
        control = f"unix:{server.folder}/control"
        subprocess.run(["kamcmd", "-s", control, command, "bl"], check=True, capture_output=True)
    found = {number: call(number) for number in (FIRST, SECOND, SPARED, INSIDE)}
    assert found == {FIRST: 200, SECOND: 603, SPARED: 200, INSIDE: 200}
