"""What operators do in more than one scene."""

from stream.lab.demo.product import Said
from stream.lab.exercise.phone import Answer
from stream.lab.exercise.ringfence import Ringfence
from stream.lab.exercise.story import Story


async def puts_on(
    story: Story,
    who: Ringfence,
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


def blocked(answer: Answer) -> bool:
    """Whether a call was blocked."""
    return answer.verdict == "block"


def feed_of(list_name: str) -> str:
    """What the feed is called by which a list is followed."""
    return list_name.replace("/", "-").lower()
