"""A chain for each test, as on the first day, and the two who have channels on it."""

import pytest
from chainkit import Chain, anvil, chain, deployment
from scene import Scene

__all__ = ["anvil", "chain", "deployment"]


@pytest.fixture
def scene(chain: Chain) -> Scene:
    return Scene(chain)
