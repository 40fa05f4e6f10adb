"""A release of some 40 MB with one changed file on eight real systemd hosts: ours beside Ansible and pyinfra doing the same work.

Ours also halts and drains, verifies signature and every digest on each host, proves the process that runs, and asks its guard.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import peers
from tests.bench.rounds import in_turn, ratio, tell, timed
from tests.support.fleetlab import FleetLab, bring_up, sent_bytes, short_id, store_of, take_down
from tradeops.lab.nspawn.driver import why_not

ROUNDS = 3
OURS, OURS_ROLLING = "tradeops, all hosts at once", "tradeops, rolling in four waves"
AT_ONCE = "schema: tradeops/playbook/v1\nname: at-once\nsteps: [{ hosts: 100% }]\nat_once: 100%\n"


class Rounds:
    """One changed file after another. cpu: name -> seconds of each round."""

    def __init__(self, lab: FleetLab, site: peers.Site) -> None:
        self.lab = lab
        self.site = site
        self.cpu: defaultdict[str, list[float]] = defaultdict(list)
        self._number = 10

    def _next(self) -> int:
        self._number += 1
        return self._number

    def ours(self, name: str, playbook: str) -> float:
        """Build the next release, then deploy it; seconds of the deploy."""
        number, folder = self._next(), self.lab.folder
        (folder / f"service-{number}" / "config").mkdir(parents=True)
        for file in ("service.yml", "config/trader.yml"):
            usual = (folder / "service-2" / file).read_text()
            (folder / f"service-{number}" / file).write_text(usual.replace("desk: desk-2", f"desk: desk-{number}"))
        self.lab.build(number)
        argv = self.lab.argv("deploy", short_id(self.lab.releases[number]), "--playbook", playbook)
        return timed(lambda: self.cpu[name].append(peers.run(argv, folder)))

    def theirs(self, peer: peers.Peer, command: peers.Command) -> float:
        """The next release as an archive, then the same with a peer; seconds of that."""
        release = f"r{self._next()}"
        source = peers.archive(self.site, release, store_of(self.lab).get(self.lab.releases[1]))
        argv = command(peer, self.site, release, source)
        seconds = timed(lambda: self.cpu[peer.name].append(peers.run(argv, self.site.folder)))
        source.unlink()
        return seconds


def _measure(lab: FleetLab, folder: Path) -> None:
    site = peers.Site(folder, lab.state, lab.folder / "keys" / "operator-1")
    peers.prepare(site)
    rounds = Rounds(lab, site)
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
    sys.stdout.write(f"content sent to each host by tradeops, compressed: {sent_bytes(lab):,} bytes\n")


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
            release = lab.build(1)
            lab.must("deploy", short_id(release))
            lab.permit("bench")
            size = sum(file.size for file in store_of(lab).get(release).manifest.predicate.files)
            sys.stdout.write(f"a release of {size / 1e6:.1f} MB, one file of it changed, 8 hosts\n")
            _measure(lab, Path(beside))
        finally:
            take_down(lab)


if __name__ == "__main__":
    main()
