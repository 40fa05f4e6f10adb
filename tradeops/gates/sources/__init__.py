"""Where samples come from: the guards themselves, or a Prometheus server."""
