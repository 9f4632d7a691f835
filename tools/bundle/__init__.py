"""The device's build of lib/ and firmware/: modules that are always loaded become one module.

plan      which ones
world     what the modules define and import, and where that is on the device
rewrite   a module with its names and imports as they are there
shorten   names that nobody reads there
build     all of it, as texts

lib/README.md says why.
"""
