"""The device's build of lib/ and firmware/: modules that are always loaded become one module.

plan      which ones
world     what the modules define and import, and where that is on the device
kinds     numbers for the names of kinds of values
rewrite   a module with its names and imports as they are there
errors    their texts, apart
shorten   names that nobody reads there
order     names in the order that costs least
build     all of it, as texts

lib/README.md says why.
"""
