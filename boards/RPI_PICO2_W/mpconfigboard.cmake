# MicroPython's own board, with uPerun frozen into it
include(${CMAKE_SOURCE_DIR}/boards/RPI_PICO2_W/mpconfigboard.cmake)
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
