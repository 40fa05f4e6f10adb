"""What goes wrong in a lab."""

from __future__ import annotations

from tradeops.base.errors import ExitCode, TradeopsError, UsageError


class LabError(TradeopsError):
    """A lab could not be brought up, changed or taken down; `lab down` cleans up what is left."""


class LabMisused(LabError):
    """There is no such lab, host, slot or release here, or there is one already; nothing was done."""

    exit_code = ExitCode.USAGE


class LabUnsupported(UsageError):
    """This driver, or this machine, cannot do what was asked."""
