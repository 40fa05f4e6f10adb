"""The whole story on a local lab: deployed, refused, brought back, found out, killed, kept down, permitted again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tradeops.base.clock import Clock
from tradeops.base.errors import ExitCode
from tradeops.drills.releases import BROKEN, write_services
from tradeops.drills.story import RELEASE, Act, Done, Stage, on_a_lab

HOSTS = 8


def acts() -> tuple[Act, ...]:
    """In order. The lab names its hosts h1 to h8, its people operator-1 and risk-1."""
    return (
        Act("release 1", "Build and sign the first release of the trading daemon.", ("build", "service-1", "--as", "operator-1")),
        Act(
            "deploy 1",
            "Bring it to eight new hosts. They prove it, and may not trade yet: nobody has permitted that.",
            ("deploy", RELEASE, "--as", "operator-1"),
            release=1,
            trading=0,
        ),
        *permit_acts("permit", "Two people with two keys permit trading."),
        Act("release 2", "Build a second release.", ("build", "service-2", "--as", "operator-1")),
        Act(
            "deploy 2",
            "Replace it while the fleet trades: one host, then two at a time.",
            ("deploy", RELEASE, "--as", "operator-1"),
            release=2,
            trading=8,
        ),
        Act("release 3", "Build a third.", ("build", "service-3", "--as", "operator-1")),
        Act("cut h8 off", "Cut the cable of host 8.", ("lab", "fault", "h8", "partition")),
        Act(
            "deploy 3",
            "Seven of eight is not a deployment: refused, and nothing is touched on the other seven.",
            ("deploy", RELEASE, "--as", "operator-1"),
            ExitCode.PREFLIGHT,
            release=3,
            names="h8",
        ),
        Act("heal h8", "Plug it in again.", ("lab", "heal", "h8"), trading=8),
        Act("release 4", "Build a release whose daemon does not come up.", ("build", "service-4", "--as", "operator-1")),
        Act(
            "deploy 4",
            "The first host does not come up: it is taken back to release 2, and the fleet is proved.",
            ("deploy", RELEASE, "--as", "operator-1"),
            ExitCode.BROUGHT_BACK,
            release=BROKEN,
            trading=8,
        ),
        Act("change a file", "Somebody changes a file of the running release on host 5, by hand.", ("lab", "fault", "h5", "changed-file")),
        Act("verify", "The fleet is looked at: host 5 is named.", ("verify",), ExitCode.DRIFT, names="h5"),
        Act("restore the file", "Put the file right.", ("lab", "heal", "h5")),
        Act("verify again", "Every host is what it should be.", ("verify",)),
        Act(
            "kill",
            "Stop everything, at once: one person, no questions.",
            ("kill-switch", "--all", "--reason", "demo", "--as", "operator-1"),
            trading=0,
        ),
        Act("restart", "Restart every daemon of every host.", ("lab", "restart")),
        Act("still halted", "What is durable is the permission to trade, and it is gone.", ("status",), trading=0),
        *permit_acts("permit again", "Two people start it again, naming the kill that they end."),
    )


def permit_acts(name: str, says: str) -> tuple[Act, ...]:
    """Two people let all hosts trade."""
    asked = ("permit", "--all", "--cause", "demo", "--out", f"{name.replace(' ', '-')}.json", "--as", "operator-1")
    signed = ("permit", "--sign", f"{name.replace(' ', '-')}.json", "--as", "risk-1")
    return (
        Act(f"{name}, asked", f"{says} The first one asks.", asked, trading=0),
        Act(f"{name}, given", "The second one signs, and the hosts trade.", signed, trading=HOSTS),
    )


def demo(folder: Path, clock: Clock, tell: Callable[[str], None], *, keep: bool) -> tuple[Done, ...]:
    """Play the story in `folder`; the lab is taken down at the end unless `keep` or it could not be."""
    prepare = partial(write_services, now_ns=clock.wall_ns())
    return on_a_lab(Stage(folder, clock, tell), HOSTS, prepare, acts(), keep=keep)
