// MicroPython's own board, with a ROMFS partition between the firmware and the storage (board.json)
#include "boards/RPI_PICO2/mpconfigboard.h"
#undef MICROPY_HW_BOARD_NAME
#undef MICROPY_HW_FLASH_STORAGE_BYTES
#define MICROPY_HW_BOARD_NAME "Raspberry Pi Pico 2 with uPerun"
#define MICROPY_HW_FLASH_STORAGE_BYTES (2560 * 1024)
#define MICROPY_HW_ROMFS_BYTES (128 * 1024)
