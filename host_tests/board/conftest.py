from boardkit import new_board

__all__ = ["new_board"]
