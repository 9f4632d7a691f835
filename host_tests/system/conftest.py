from worlds import new_world

__all__ = ["new_world"]
