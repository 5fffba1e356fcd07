"""All scenes, in the order in which they are played: the last one sends a country away."""

from stream.exercise.scenes import Scene, gang, hub_down, leaving, pledge, poison, stolen_key

SCENES: tuple[Scene, ...] = (
    gang.SCENE,
    pledge.SCENE,
    poison.SCENE,
    stolen_key.SCENE,
    hub_down.SCENE,
    leaving.SCENE,
)
