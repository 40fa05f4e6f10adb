"""Names that vulture cannot see used: each is reached by a library or a protocol, not by our own code."""

from __future__ import annotations

from tradeops.cli.backup import backup

__all__ = ["backup"]
