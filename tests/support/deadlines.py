"""What runbooks/deadlines.md states, as the tests hold commands to it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "runbooks" / "deadlines.md"


def stated() -> dict[str, float]:
    """Command -> seconds with silent hosts, as the page says."""
    return {name: float(seconds) for name, seconds in re.findall(r"^\| `([a-z -]+)` \| (\d+) s", PAGE.read_text(), re.MULTILINE)}
