"""Control plane of a host: stop page, marks and permit, watchdog, drop copy, out-versus-in, the control API."""
