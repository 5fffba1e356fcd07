"""The scenes of the exercise: what is done, and what must come of it; one file each."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from stream.lab.exercise.story import Story
from stream.lab.exercise.training import Training

Play = Callable[[Training, Story], Awaitable[None]]


class Scene(NamedTuple):
    """One scene. `text` says what it is about; `needs` are the countries that have to take part."""

    name: str
    title: str
    text: str
    needs: frozenset[str]
    play: Play
