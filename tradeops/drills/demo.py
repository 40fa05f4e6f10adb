"""The whole story on a local lab: deployed, judged, refused, brought back, found out, killed, kept down, permitted again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tradeops.base.clock import Clock
from tradeops.base.errors import ExitCode
from tradeops.drills.playbooks import FIRST, IMPATIENT, QUICK, write_playbooks
from tradeops.drills.releases import BROKEN, IDLE, NOISY, write_services
from tradeops.drills.story import RELEASE, RUN, Act, Done, Stage, on_a_lab

HOSTS = 8
_AS = ("--as", "operator-1")


def acts() -> tuple[Act, ...]:
    """In order. The lab names its hosts h1 to h8, its people operator-1 and risk-1."""
    return (
        Act("release 1", "Build and sign the first release of the trading daemon.", _build(1)),
        Act(
            "deploy 1",
            "Bring it to eight new hosts. They prove it, and may not trade yet: nobody has permitted that.",
            ("deploy", RELEASE, "--playbook", FIRST, *_AS),
            release=1,
            trading=0,
        ),
        *permit_acts("permit", "Two people with two keys permit trading."),
        Act("release 2", "Build a second release.", _build(2)),
        Act(
            "canary 2",
            "It gets one host and a tenth of the flow. When it is shown to do no worse than the other seven, the rest follow.",
            ("deploy", RELEASE, "--playbook", QUICK, *_AS),
            release=2,
            trading=HOSTS,
        ),
        Act("release 3", "Build a third.", _build(3)),
        Act("cut h8 off", "Cut the cable of host 8.", ("lab", "fault", "h8", "partition")),
        Act(
            "deploy 3",
            "Seven of eight is not a deployment: refused, and nothing is touched on the other seven.",
            ("deploy", RELEASE, *_AS),
            ExitCode.PREFLIGHT,
            release=3,
            names="h8",
        ),
        Act("heal h8", "Plug it in again.", ("lab", "heal", "h8"), trading=HOSTS),
        Act("release 4", "Build a release whose daemon does not come up.", _build(BROKEN)),
        Act(
            "deploy 4",
            "The first host does not come up: it is taken back to release 2, and the fleet is proved.",
            ("deploy", RELEASE, *_AS),
            ExitCode.BROUGHT_BACK,
            release=BROKEN,
            trading=HOSTS,
        ),
        *_canaries(),
        Act("change a file", "Somebody changes a file of the running release on host 5, by hand.", ("lab", "fault", "h5", "changed-file")),
        Act("verify", "The fleet is looked at: host 5 is named.", ("verify",), ExitCode.DRIFT, names="h5"),
        Act("restore the file", "Put the file right.", ("lab", "heal", "h5")),
        Act("verify again", "Every host is what it should be.", ("verify",)),
        Act(
            "kill",
            "Stop everything, at once: one person, no questions.",
            ("kill-switch", "--all", "--reason", "demo", *_AS),
            trading=0,
        ),
        Act("restart", "Restart every daemon of every host.", ("lab", "restart")),
        Act("still halted", "What is durable is the permission to trade, and it is gone.", ("status",), trading=0),
        *permit_acts("permit again", "Two people start it again, naming the kill that they end."),
    )


def _canaries() -> tuple[Act, ...]:
    """Two that do not pass: one that is worse, and one of which nothing is known."""
    return (
        Act(f"release {NOISY}", "Build one that makes three times as many errors.", _build(NOISY)),
        Act(
            f"canary {NOISY}",
            "The canary is rejected more often than the seven beside it: caught, halted, taken back, proved.",
            ("deploy", RELEASE, "--playbook", QUICK, *_AS),
            ExitCode.ROLLED_BACK,
            trading=HOSTS,
            release=NOISY,
            names="reject_ratio",
        ),
        Act(f"release {IDLE}", "Build one that finds nothing to do.", _build(IDLE)),
        Act(
            f"canary {IDLE}",
            "The canary takes nothing in. No data is no pass: it is held, and takes no new risk.",
            ("deploy", RELEASE, "--playbook", IMPATIENT, *_AS),
            ExitCode.INCONCLUSIVE,
            trading=HOSTS - 1,
            release=IDLE,
            names="h1",
        ),
        Act(
            "end the canary",
            "A person ends it: host 1 is taken back, and the fleet is proved.",
            ("runs", "abort", RUN, *_AS),
            trading=HOSTS,
        ),
    )


def _build(number: int) -> tuple[str, ...]:
    return ("build", f"service-{number}", "--number", str(number), *_AS)


def permit_acts(name: str, says: str) -> tuple[Act, ...]:
    """Two people let all hosts trade."""
    asked = ("permit", "--all", "--cause", "demo", "--out", f"{name.replace(' ', '-')}.json", *_AS)
    signed = ("permit", "--sign", f"{name.replace(' ', '-')}.json", "--as", "risk-1")
    return (
        Act(f"{name}, asked", f"{says} The first one asks.", asked, trading=0),
        Act(f"{name}, given", "The second one signs, and the hosts trade.", signed, trading=HOSTS),
    )


def prepare(folder: Path, *, now_ns: int) -> None:
    """Services and playbooks beside the lab's fleet file. Raises ConfigError, OSError."""
    write_services(folder, now_ns=now_ns)
    write_playbooks(folder)


def demo(folder: Path, clock: Clock, tell: Callable[[str], None], *, screen: int | None, keep: bool) -> tuple[Done, ...]:
    """Play the story in `folder`; the lab is taken down at the end unless `keep` or it could not be."""
    return on_a_lab(Stage(folder, clock, tell, screen), HOSTS, partial(prepare, now_ns=clock.wall_ns()), acts(), keep=keep)
