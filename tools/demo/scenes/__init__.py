"""The scenes, in their order. A scene is a file: a name, a title and a coroutine function.

    async def play(world: World) -> Verdict

It runs in a fresh world and says what must be true at its end and what is.
"""

from demo.scenes import cheat, honest, power_cut, service_down, silent
from demo.scenes.base import Scene

SCENES: dict[str, Scene] = {
    room.SCENE.name: room.SCENE for room in (honest, cheat, silent, service_down, power_cut)
}
