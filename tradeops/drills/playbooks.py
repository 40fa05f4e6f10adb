"""Playbooks of seconds for the demo, which judge by what they scrape as those of minutes do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FIRST: Final = "first"
QUICK: Final = "quick-canary"
IMPATIENT: Final = "impatient-canary"

_FIRST = """\
# Where nothing runs yet, nothing is replaced: all hosts at once.
schema: tradeops/playbook/v1
name: first
at_once: 100%
steps:
  - {hosts: 100%}
"""
_CANARY = """\
# A canary of seconds, for a demo alone: `tradeops docs canary` is the one for real releases, which bakes for minutes.
# The venue rejects one in ten orders of the demo's trader by design, so the limit is high and the comparison decides.
schema: tradeops/playbook/v1
name: {name}
steps:
  - {{hosts: 1, flow: 10%, bake: 3s, events: 20}} # one host with a tenth of the fleet's flow, beside the other seven
  - {{hosts: 100%}}
at_once: 50% # more than the usual third: a demo has no time
gate:
  alpha: 0.1%
  confidence: 99%
  every: 500ms
  warm_up: 1s
  patience: {patience} # after the bake, for a verdict
  undecided: hold
  metrics:
    reject_ratio: {{kind: ratio, events: tradeops_orders_rejected_total, limit: 60%, margin: 3}}
    drawdown: {{kind: limit, gauge: tradeops_drawdown, at_most: 1000}}
"""
TEXTS: Final = {
    FIRST: _FIRST,
    QUICK: _CANARY.format(name=QUICK, patience="90s"),
    IMPATIENT: _CANARY.format(name=IMPATIENT, patience="2s"),
}


def write_playbooks(folder: Path) -> None:
    """Into `playbooks/` beside the fleet file in `folder`. Raises OSError."""
    (folder / "playbooks").mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        (folder / "playbooks" / f"{name}.yml").write_text(text, encoding="utf-8")
