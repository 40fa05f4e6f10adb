"""`make picture`: the README's picture, taken from a real deploy on a real terminal over a local lab of eight hosts."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.fleetlab import FleetLab, bring_up, short_id, take_down
from tests.support.wait import until

COLUMNS, LINES, HOSTS = 84, 20, 8
MOMENT = "wave 3 of 5: prove"
TARGET = Path(__file__).parents[2] / "runbooks" / "images" / "deploy.svg"
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""


def main() -> int:
    """Bring up, deploy, permit, deploy again and look at it in mid-run."""
    with tempfile.TemporaryDirectory(prefix="tradeops-picture-") as folder:
        lab = bring_up(Path(folder) / "lab", "local", HOSTS)
        try:
            lab.must("deploy", short_id(lab.build(1)))
            lab.permit("first start")
            screen = _watch(lab, short_id(lab.build(2)))
        finally:
            take_down(lab)
    TARGET.write_text(draw(screen), encoding="utf-8")
    return 0


def _watch(lab: FleetLab, release: str) -> str:
    """The terminal at the moment, with its colours."""
    words = ["tradeops", "deploy", release]
    command = f"cd {shlex.quote(str(lab.folder))} && {shlex.join(lab.argv(*words[1:]))}; exec sleep 600"
    tmux = ("tmux", "-L", f"picture-{lab.folder.parent.name}", "-f", "/dev/null")
    subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), "-s", "picture", command], check=True)
    try:
        shot = until(lambda: _seen(tmux), 300)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    return f"$ {shlex.join(words)}\n{shot}"


def _seen(tmux: tuple[str, ...]) -> str:
    shot = subprocess.run([*tmux, "capture-pane", "-p", "-e", "-t", "picture"], check=True, capture_output=True, text=True).stdout
    return shot.rstrip() if MOMENT in re.sub(r"\x1b\[[0-9;]*m", "", shot) else ""


def draw(screen: str) -> str:
    """An SVG of what a terminal showed; it links to nothing."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen))
    return console.export_svg(title="tradeops", code_format=_FORMAT)


if __name__ == "__main__":
    sys.exit(main())
