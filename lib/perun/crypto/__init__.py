"""Hashes and signatures; knows nothing of channels."""
