"""The device's build of lib/ and firmware/: modules that are always loaded become one module."""
