"""One country's Ringfence: its folder, its commands, its processes, its web server, its phone."""

import asyncio
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from stream.lab.demo.product import Engine, Places, Program, Said, says_ready
from stream.lab.demo.world import Country
from stream.lab.embedded.guarded_server import free_ports
from stream.lab.exercise import papers, quick
from stream.lab.exercise.papers import People
from stream.lab.exercise.phone import Answers, CallAnswer, Phone
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings


class WebFolder:
    """Serves `folder`, which may be exchanged while it runs, on a port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its address; the same after it was switched off and on."""
        assert self._port, "it was never switched on"
        return f"http://127.0.0.1:{self._port}"

    def on(self) -> None:
        """Serve; may be called twice."""
        if self._server is not None:
            return
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), partial(_Files, self))
        self._port = self._server.server_address[1]
        serving = partial(self._server.serve_forever, 0.05)
        self._thread = threading.Thread(target=serving, daemon=True)
        self._thread.start()

    def off(self) -> None:
        """Answer no further requests; may be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None


class _Files(SimpleHTTPRequestHandler):
    """The standard library's, of the folder that the `Web` has now."""

    def __init__(self, web: WebFolder, *args: object) -> None:
        super().__init__(*args, directory=str(web.folder))  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


SEEN_S_MAX = 30.0
"""After that an event counts as missing: far beyond what a busy machine needs."""
LOOK_S = 0.2
OVERLAY = "changed.toml"


class Station:
    """A country or the hub: its folder, its commands, and its repository on the web."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.config = folder / "ringfence.toml"
        self.repository = folder / "exchange" / "repository"
        self.web = WebFolder(self.repository)
        self.sticks = [folder / "stick-a", folder / "stick-b"]
        self.programs: dict[str, Program] = {}
        folder.mkdir(parents=True, mode=0o700)

    async def command(self, *words: str) -> Said:
        """Run `ringfence WORDS` with this station's settings."""
        return await quick.run(*words, "--config", str(self.config))

    def pids(self) -> dict[str, int]:
        """Its running programs by name; one that has ended is missing."""
        return {name: one.pid for name, one in self.programs.items() if one.is_running()}

    def keys(self) -> tuple[str, ...]:
        """The words that give a command both people's keys."""
        return tuple(word for stick in self.sticks for word in ("--keys", str(stick)))

    def stop(self) -> None:
        """End its programs in order, as a service manager would."""
        for program in self.programs.values():
            program.stop()

    def close(self, keep: Path | None = None) -> None:
        """End what still runs; what its programs logged is kept in `keep`."""
        self.web.off()
        for name, program in self.programs.items():
            if keep is not None:
                (keep / f"{name}.log").write_text(program.said(1 << 20))
            program.close()


class CountryStation(Station):
    """A country. `roots` is the folder where it keeps other countries' root.json files."""

    def __init__(self, country: Country, folder: Path, people: People) -> None:
        super().__init__(country.iso, folder)
        self.country = country
        self.people = people
        self.list = country.list
        self.ports = papers.Ports(*free_ports(3))
        self.roots = folder / "roots"
        for place in ("feeds", "agreements", "roots", "state"):
            (folder / place).mkdir()
        self.partners: dict[str, tuple[str, Path]] = {}
        self._places: Places | None = None
        self._phone: Phone | None = None

    def settle(self, places: Places | None) -> None:
        """Write its settings: a second time when broker and Redis are there."""
        self._places = places
        text = papers.settings(self.country, self.folder, places, self.ports, self.partners)
        self.config.write_text(text, encoding="utf-8")

    def signs(self, agreement: papers.AgreementPaper) -> Path:
        """Put its copy of an agreement, or of its new text, into its folder; where it is."""
        path = self.folder / "agreements" / f"{agreement.id}.toml"
        aside = path.with_suffix(".new")
        aside.write_text(agreement.text(), encoding="utf-8")
        aside.replace(path)
        return path

    def follows(self, list_name: str, url: str, root: Path) -> Path:
        """Write the feed file by which it follows a list from `url`."""
        kept = self.roots / f"{list_name.partition('/')[0].lower()}.json"
        shutil.copyfile(root, kept)
        path = self.folder / "feeds" / f"{list_name.replace('/', '-').lower()}.toml"
        path.write_text(papers.feed(list_name, url, kept), encoding="utf-8")
        return path

    def hire(self, *, publishes: bool, follows: bool) -> None:
        """Make its programs, which are not started yet."""
        self.programs["engine"] = Engine(self.config, self.ports.engine)
        if follows:
            self._hire("feeds", self.ports.feeds)
        if publishes:
            self._hire("exchange", self.ports.exchange)

    def _hire(self, what: str, port: int) -> None:
        title = f"{self.name}'s {what}"
        self.programs[what] = Program(title, [what, "run"], self.config, lambda _: says_ready(port))

    async def open_lines(self) -> None:
        """Have its phone, once its topics and its engine are there."""
        assert self._places is not None, "its settings are written first"
        phone = Phone(self._places, self.people.innocent[0], self.country.trunk)
        self._phone = await phone.__aenter__()

    async def close_lines(self) -> None:
        """Give the phone back."""
        if self._phone is not None:
            await self._phone.__aexit__()

    @property
    def phone(self) -> Phone:
        """Its phone."""
        assert self._phone is not None, "its lines are open"
        return self._phone

    async def call(self, numbers: Sequence[str]) -> Answers:
        """A call from each of `numbers`."""
        return await self.phone.call(numbers)

    async def until(
        self, number: str, wanted: Callable[[CallAnswer], bool], within_s: float = SEEN_S_MAX
    ) -> list[CallAnswer]:
        """Calls from `number` until one is answered as wanted."""
        return await self.phone.until(number, wanted, within_s)

    def stopped(self, list_name: str, verdict: str) -> int:
        """The count of calls answered so, of numbers that the list holds."""
        return self.phone.stopped[list_name, verdict]

    async def changed_ms(self) -> int:
        """Return when its list store changed last, by Redis' clock, in ms since the epoch."""
        assert self._places is not None, "its settings are written first"
        settings = ListStoreSettings(self._places.redis_url, require_aof=self._places.durable)
        async with await ListStore.connect(settings) as store:
            last_id = (await store.heads()).last_id
        return int(last_id.partition("-")[0])

    async def metric_reaches(self, name: str, labels: dict[str, str], least: float) -> float | None:
        """Wait until a metric of its feeds reaches `least`; return its last value, None: absent."""
        ends_s = time.monotonic() + SEEN_S_MAX
        while True:
            seen = await asyncio.to_thread(metric, self.ports.feeds, name, labels)
            if (seen is not None and seen >= least) or time.monotonic() > ends_s:
                return seen
            await asyncio.sleep(LOOK_S)

    def overlay(self, text: str) -> tuple[str, ...]:
        """The words that lay other settings over its own for one command."""
        path = self.folder / OVERLAY
        path.write_text(text, encoding="utf-8")
        return ("--config", str(path))


def metric(port: int, name: str, labels: dict[str, str]) -> float | None:
    """A sample of a program's metrics; None: it is not there, or nobody answers."""
    address = f"http://127.0.0.1:{port}/metrics"
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address) as answer:
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
    return None


class HubStation(Station):
    """A secretariat that carries countries' repositories."""

    def __init__(self, folder: Path) -> None:
        super().__init__("hub", folder)
        self._before = 0
        self.config.write_text(papers.toml({"exchange": papers.exchange(folder)}))

    def hire(self) -> None:
        """Make its program: it looks for news each second, and says once that it carries KH's."""
        words = ["exchange", "hub", "sync", "--every", "1"]
        self.programs["hub"] = Program("the hub", words, self.config, self._carries)

    def _carries(self, program: Program) -> bool:
        return _carryings(program) > self._before

    async def goes_down(self) -> None:
        """Its machine is switched off: web server and program."""
        self.web.off()
        await asyncio.to_thread(self.programs["hub"].stop)
        self._before = _carryings(self.programs["hub"])

    async def comes_back(self) -> None:
        """It is switched on again."""
        self.web.on()
        await self.programs["hub"].start()

    def carried(self, owner: str) -> str:
        """The address of a country's repository at the hub."""
        return f"{self.web.url}/countries/{owner}"


def _carryings(program: Program) -> int:
    return program.said(1 << 20).count("carried")
