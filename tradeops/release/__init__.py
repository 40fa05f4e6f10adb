"""Releases: built from a tree, written down in a manifest, signed, kept by content address, carried to hosts."""
