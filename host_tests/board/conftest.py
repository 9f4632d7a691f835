from boardkit import deployed, device, new_board

__all__ = ["deployed", "device", "new_board"]
