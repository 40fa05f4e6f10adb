"""Seeded simulation of whole runs: the real deploy code, simulated hosts, a clock that is a value."""
