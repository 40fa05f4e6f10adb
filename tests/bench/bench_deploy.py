"""A tree of some 40 MB with one changed file on eight real systemd hosts: ours beside Ansible and pyinfra doing the same work.

The same files and the same small HTTP service for all: brought, linked, restarted, asked whether it is well. Ours also verifies signature
and every digest on each host, proves the process that runs, by host and by guard, and does so once more at the end.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import peers
from tests.bench.rounds import in_turn, ratio, tell, timed
from tests.support.fleetlab import FleetLab, bring_up, short_id, store_of, take_down
from tests.support.webfleet import WEB, enrol_for_web
from tradeops.lab.nspawn.driver import why_not

ROUNDS = 3
OURS, OURS_ROLLING = "tradeops, all hosts at once", "tradeops, rolling in four waves"
AT_ONCE = "schema: tradeops/playbook/v1\nname: at-once\nsteps: [{ hosts: 100% }]\nat_once: 100%\n"


class Rounds:
    """One changed file after another. cpu: name -> seconds of each round."""

    def __init__(self, lab: FleetLab, site: peers.Site, tree: Path) -> None:
        self.lab = lab
        self.site = site
        self.tree = tree
        self.cpu: defaultdict[str, list[float]] = defaultdict(list)
        self._number = 10

    def _next(self) -> int:
        self._number += 1
        return self._number

    def ours(self, name: str, playbook: str) -> float:
        """Build the next release, then deploy it; seconds of the deploy."""
        number = self._next()
        (self.tree / "changed").write_text(str(number))
        argv = self.lab.argv("deploy", build(self.lab, self.tree, number), "--playbook", playbook)
        return timed(lambda: self.cpu[name].append(peers.run(argv, self.lab.folder)))

    def sent(self) -> int:
        """Bytes that one more such deploy sends to all agents together."""
        number = self._next()
        (self.tree / "changed").write_text(str(number))
        ended = self.lab.must("deploy", build(self.lab, self.tree, number), "--playbook", "rolling")
        return int(ended.document["bytes_sent"])

    def theirs(self, peer: peers.Peer, command: peers.Command) -> float:
        """The next release as an archive, then the same with a peer; seconds of that."""
        release = f"r{self._next()}"
        source = peers.archive(self.site, release, self.tree)
        argv = command(peer, self.site, release, source)
        seconds = timed(lambda: self.cpu[peer.name].append(peers.run(argv, self.site.folder)))
        source.unlink()
        return seconds


def build(lab: FleetLab, tree: Path, number: int) -> str:
    """A release of the tree; its short id."""
    ended = lab.must("build", str(tree), "--number", str(number))
    return short_id(ended.document["release"])


def make_tree(lab: FleetLab) -> Path:
    """The files of our own daemon's release, as so many bytes, and the small HTTP service that is started."""
    tree = lab.folder / "tree"
    for file in store_of(lab).get(lab.build(1)).manifest.predicate.files:
        if file.link is None:
            path = tree / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store_of(lab).get(lab.releases[1]).blob(file.digest), path)
    return Path(shutil.copytree(WEB, tree, dirs_exist_ok=True))


def _measure(lab: FleetLab, folder: Path, tree: Path) -> None:
    site = peers.Site(folder, lab.state, lab.folder / "keys" / "operator-1")
    peers.prepare(site)
    rounds = Rounds(lab, site, tree)
    works = {OURS: partial(rounds.ours, OURS, "at-once"), OURS_ROLLING: partial(rounds.ours, OURS_ROLLING, "rolling")}
    for name, (package, command) in peers.PEERS.items():
        if peer := peers.install(name, package):
            works[name] = partial(rounds.theirs, peer, command)
            sys.stdout.write(f"beside {peer.version}\n")
    found = in_turn(works, ROUNDS)
    for name, seconds in found.items():
        tell(f"{name}: wall", seconds)
        tell(f"{name}: operator's CPU", rounds.cpu[name])
    for name in found.keys() - {OURS, OURS_ROLLING}:
        for ours in (OURS, OURS_ROLLING):
            ratio(f"{ours}, beside {name}: wall", found[ours], found[name])
            ratio(f"{ours}, beside {name}: CPU", rounds.cpu[ours], rounds.cpu[name])
    each_ms = 1000 * statistics.median(rounds.cpu[OURS_ROLLING]) / len(lab.names())
    sys.stdout.write(f"operator's CPU for each host, rolling: {each_ms:.0f} ms\n")
    sys.stdout.write(f"sent by tradeops to all hosts together: {rounds.sent():,} bytes\n")


def main() -> None:
    """Print the figures, or why there are none."""
    if reason := why_not():
        sys.stdout.write(f"skipped: {reason}\n")
        return
    with TemporaryDirectory(prefix="tradeops-bench-") as folder, TemporaryDirectory(prefix="tradeops-peers-") as beside:
        lab = bring_up(Path(folder), "nspawn", 8)
        try:
            (lab.folder / "playbooks").mkdir()
            (lab.folder / "playbooks" / "at-once.yml").write_text(AT_ONCE)
            tree = make_tree(lab)
            enrol_for_web(lab)
            lab.permit("bench")
            lab.must("deploy", build(lab, tree, 2))
            size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
            sys.stdout.write(f"a tree of {size / 1e6:.1f} MB, one file of it changed, 8 hosts\n")
            _measure(lab, Path(beside), tree)
        finally:
            take_down(lab)


if __name__ == "__main__":
    main()
