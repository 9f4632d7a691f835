"""The scenes, in their order. A scene is a file: a name, a title and a coroutine function.

    async def play(world: World) -> Verdict

It runs in a fresh world and says what must be true at its end and what is.
"""

from demo.scenes import cheat, go_car, go_station, honest, power_cut, service_down, silent
from demo.scenes.base import Scene

SCENES: dict[str, Scene] = {
    room.SCENE.name: room.SCENE for room in (honest, cheat, silent, service_down, power_cut)
}

# With a go-perun node at the other end; these need Go.
GO_SCENES: dict[str, Scene] = {room.SCENE.name: room.SCENE for room in (go_station, go_car)}
