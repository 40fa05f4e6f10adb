"""Quotes on their way in: whose clock, how old, how plausible, and only the newest of each symbol."""
