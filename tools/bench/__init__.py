"""Measurements: `make size` and `make bench`."""
