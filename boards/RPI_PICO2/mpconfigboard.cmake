# MicroPython's own board, with uPerun frozen into it
include(${CMAKE_SOURCE_DIR}/boards/RPI_PICO2/mpconfigboard.cmake)
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
