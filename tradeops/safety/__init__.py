"""Stop and start again: kill, halt, resume, permit."""
