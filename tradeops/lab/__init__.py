"""Fleets on one machine, with two drivers (local: pip only; nspawn: real systemd hosts) and faults to inject."""
