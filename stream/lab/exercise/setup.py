"""From nothing to countries that follow each other, by commands: as many at once as cores are here.

First what needs neither broker nor Redis, so that it is done while those start: keys and
repositories. Then topics, lists, and all programs.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event

from stream.lab.demo.product import DemoFailed, Program
from stream.lab.demo.servers import Servers
from stream.lab.demo.show import Steps
from stream.lab.demo.world import write_list
from stream.lab.exercise import expect
from stream.lab.exercise.papers import CIRCLE, people_of, taking_part
from stream.lab.exercise.station import SEEN_S_MAX, CountryStation, HubStation, Station
from stream.lab.exercise.training import HOME, SOURCE, Training, agreements_among

AT_ONCE = max(2, os.cpu_count() or 2)


def cast(countries: int, folder: Path, seed: int) -> Training:
    """Make each country's folder, settings and agreements; nothing runs yet."""
    found = {}
    for country in taking_part(countries):
        people = people_of(country, seed)
        ringfence = CountryStation(country, folder / country.iso, people)
        ringfence.settle(None)
        found[country.iso] = ringfence
    training = Training(found, HubStation(folder / "hub"), folder)
    for agreement in agreements_among(training.isos):
        training.sign(agreement)
    return training


async def make_repositories(training: Training, enough: Event) -> None:
    """Keys and repositories of all who publish, and the hub that carries KH's.

    `enough` ends it early. Raises DemoFailed.
    """
    roles = {iso: one.list for iso, one in training.ringfences.items()}
    roles[HOME] = f"{HOME}/enforcement"  # TH publishes what it does by the others' lists
    await _at_once(partial(_repository, training[iso], role, enough) for iso, role in roles.items())
    hub = training.hub
    await _done(hub, enough, "exchange", "hub", "init", *_people(hub))
    source = training[SOURCE]
    source.web.on()
    root = str(_root(source))
    await _done(
        hub, enough, "exchange", "hub", "add", SOURCE, source.web.url, "--root", root, *hub.keys()
    )


async def _repository(owner: CountryStation, role: str, enough: Event) -> None:
    await _done(owner, enough, "exchange", "init", *_people(owner))
    await _done(owner, enough, "exchange", "add-list", role, *owner.keys())


async def open_for_calls(
    training: Training, servers: dict[str, Servers], steps: Steps, enough: Event
) -> None:
    """Topics, lists and programs; everybody's list acts wherever it may. Raises DemoFailed."""
    for station in (*training.ringfences.values(), training.hub):
        station.web.on()
    home, source = training[HOME], training[SOURCE]
    source.partners[HOME] = (home.web.url, _root(home))
    for iso, ringfence in training.ringfences.items():
        ringfence.settle(servers[iso].places)
    step = steps.begin("topics and lists")
    await _at_once(
        partial(making, one, enough)
        for making in (_topics, _list)
        for one in training.ringfences.values()
    )
    step.done(f"{len(training.isos)} countries, a database and topics of its own each")
    for follower, owner in training.following():
        url = owner.web.url if follower.name == HOME else training.hub.carried(owner.name)
        follower.follows(owner.list, url, _root(owner))
    step = steps.begin("programs")
    for iso, ringfence in training.ringfences.items():
        ringfence.hire(publishes=iso != HOME, follows=iso != SOURCE)
    training.hub.hire()
    await _started(training)
    step.done("engines, followers, publishers, and the hub's")
    step = steps.begin("first lists")
    for ringfence in training.ringfences.values():
        await ringfence.open_lines()
    pairs = list(training.following())
    for follower, owner in pairs:
        await _acts(follower, owner)
    step.done(f"{len(pairs)} followed lists have arrived")


async def _started(training: Training) -> None:
    """Start the publishers first, so that followers find something."""
    waves: tuple[tuple[str, ...], ...] = (("exchange", "engine"), ("feeds", "hub"))
    for wave in waves:
        programs: list[Program] = [
            program
            for station in (*training.ringfences.values(), training.hub)
            for name, program in station.programs.items()
            if name in wave
        ]
        await asyncio.gather(*(program.start() for program in programs))


async def _acts(follower: CountryStation, owner: CountryStation) -> None:
    """Wait until the owner's list is known in the follower's engine. Raises DemoFailed."""
    number = owner.people.listed[0]
    answers = await follower.until(number, lambda answer: owner.list in answer.lists)
    if not answers or owner.list not in answers[-1].lists:
        text = f"{owner.list} has not come to {follower.name} within {SEEN_S_MAX:g} s"
        raise DemoFailed(f"{text}: {follower.programs['feeds'].said()}")


async def _topics(ringfence: CountryStation, enough: Event) -> None:
    await _done(ringfence, enough, "topics", "create")


async def _list(ringfence: CountryStation, enough: Event) -> None:
    by = ("--actor", "exercise", "--reason", "as it was before the exercise")
    await _done(ringfence, enough, "lists", "create", ringfence.list, "--circle", CIRCLE, *by)
    path = ringfence.folder / "numbers.csv"
    today = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    write_list(ringfence.people.listed, path, today)
    await _done(ringfence, enough, "lists", "import", ringfence.list, str(path), *by)


async def _done(station: Station, enough: Event, *words: str) -> None:
    """A command that has to succeed."""
    if enough.is_set():
        raise DemoFailed("a signal ended it")
    said = await station.command(*words)
    finding = expect.command(said, 0, "", " ".join(words))
    if not finding.held:
        raise DemoFailed(f"{station.name}: `{' '.join(words)}`: {finding.seen}")


async def _at_once(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def placed(work: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await work()

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(placed(work))


def _people(station: Station) -> tuple[str, ...]:
    """Two people, each with a stick, both needed."""
    sticks = (word for stick in station.sticks for word in ("--offline", str(stick)))
    return (*sticks, "--threshold", "2")


def _root(owner: Station) -> Path:
    return owner.repository / "metadata" / "1.root.json"
