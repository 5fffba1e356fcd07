"""The scenes of the exercise in the order of playing: a country leaves late, a report ends it."""

from stream.lab.exercise.scenes.ending import LEAVING, REPORTING
from stream.lab.exercise.scenes.gang import GANG, PLEDGE
from stream.lab.exercise.scenes.hub_down import HUB_DOWN
from stream.lab.exercise.scenes.poison import POISON
from stream.lab.exercise.scenes.scene import Scene
from stream.lab.exercise.scenes.stolen_key import STOLEN_KEY
from stream.lab.exercise.scenes.wrong_block import WRONG_BLOCK

SCENES: tuple[Scene, ...] = (
    *(GANG, PLEDGE, POISON, STOLEN_KEY),
    *(HUB_DOWN, WRONG_BLOCK, LEAVING, REPORTING),
)
