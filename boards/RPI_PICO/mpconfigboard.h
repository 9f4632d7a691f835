// MicroPython's own board, with a ROMFS partition between the firmware and the storage (board.json)
#include "boards/RPI_PICO/mpconfigboard.h"
#undef MICROPY_HW_BOARD_NAME
#undef MICROPY_HW_FLASH_STORAGE_BYTES
#define MICROPY_HW_BOARD_NAME "Raspberry Pi Pico with uPerun"
#define MICROPY_HW_FLASH_STORAGE_BYTES (1408 * 1024)
#define MICROPY_HW_ROMFS_BYTES (128 * 1024)
