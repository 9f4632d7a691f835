// MicroPython's own board under another name; what differs is in its partitions
#include "boards/ESP32_GENERIC_C3/mpconfigboard.h"
#undef MICROPY_HW_BOARD_NAME
#define MICROPY_HW_BOARD_NAME "ESP32-C3 with uPerun"
