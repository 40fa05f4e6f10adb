"""Errors, clock, strict configuration, durable files, logs: what every room but the agent may use."""
