"""All scenes, in the order in which they are played: a country leaves late, a report ends it."""

from stream.lab.exercise.scenes import (
    Scene,
    appeal,
    gang,
    hub_down,
    leaving,
    pledge,
    poison,
    reporting,
    stolen_key,
)

SCENES: tuple[Scene, ...] = (
    gang.SCENE,
    pledge.SCENE,
    poison.SCENE,
    stolen_key.SCENE,
    hub_down.SCENE,
    appeal.SCENE,
    leaving.SCENE,
    reporting.SCENE,
)
