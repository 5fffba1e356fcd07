"""A scene of the exercise, and the moves that operators make in more than one."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from stream.lab.demo.product import Said
from stream.lab.exercise.phone import CallAnswer
from stream.lab.exercise.station import CountryStation
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import Training


class Scene(NamedTuple):
    """One scene. `text` says what it is about; `needs` are the countries that have to take part."""

    name: str
    title: str
    text: str
    needs: frozenset[str]
    play: Callable[[Training, Story], Awaitable[None]]


async def puts_on(
    story: Story,
    who: CountryStation,
    texts: tuple[str, ...],
    reason: str = "hotline",
    *,
    more: tuple[str, ...] = (),
) -> Said:
    """`lists add` on a country's own list; `more` words are not shown."""
    why = ("--category", "call_centre", "--reason", reason)
    named = f"{texts[0]} ... ({len(texts)} of them)" if len(texts) > 1 else f'"{texts[0]}"'
    shown = f'lists add {who.list} {named} --category call_centre --reason "{reason}"'
    return await story.does(who, "lists", "add", who.list, *texts, *why, *more, shown=shown)


def blocked(answer: CallAnswer) -> bool:
    """A call was blocked."""
    return answer.verdict == "block"


def feed_of(list_name: str) -> str:
    """The name of the feed that follows a list."""
    return list_name.replace("/", "-").lower()
