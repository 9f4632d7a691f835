"""Generators of the native modules in lib/perun/crypto; see lib/perun/crypto/README.md.

`make kernels` (or `python -m kernels`, with tools/ in the path) writes them anew.
"""
