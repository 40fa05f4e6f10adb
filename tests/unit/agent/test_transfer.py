"""Blobs and releases: what is half-written never counts, what is not signed never arrives, what is damaged is fetched again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import ManagedHost, TestRelease, envelope, frame, plain
from tests.support.wait import until
from tradeops.base.digest import digest_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.manifest import File

BIG = bytes(range(256)) * 8192


def test_only_what_is_missing_travels_and_the_release_is_the_hosts_own_copy(managed: ManagedHost) -> None:
    """Read-only, not hard-linked, folder by folder as the manifest says; a second release needs its changed file only."""
    agent = managed.locked()
    first = managed.release(files={"data/big.bin": BIG, "empty": b"", "sub/dir/x": b"1"})
    answer = agent.do("missing", first.announcement())
    assert (answer["release"], len(answer["missing"])) == (first.id, 5)
    assert answer["bytes"] == sum(map(len, first.content.values()))
    assert agent.do("receive", first.parcel(answer["missing"])) == {"stored": 5}
    assert agent.do("assemble", release=first.id) == {"release": first.id, "files": 5}
    tree = managed.layout.release(first.id) / "tree"
    for path, data in first.content.items():
        assert (tree / path).read_bytes() == data
        assert stat.S_IMODE((tree / path).stat().st_mode) == 0o444
        assert (tree / path).stat().st_nlink == 1
    assert stat.S_IMODE((tree / "sub").stat().st_mode) == 0o555
    second = managed.release(2, files={"data/big.bin": BIG, "empty": b"", "sub/dir/x": b"2"})
    assert len(agent.do("missing", second.announcement())["missing"]) == 2
    facts = agent.do("facts")
    assert (facts["releases"], facts["highest_number"]) == ([first.id], 1)


def test_the_same_again_is_nothing_to_do(managed: ManagedHost) -> None:
    """Staged twice: nothing travels, the release stays."""
    agent, release = managed.locked(), managed.release()
    managed.stage(agent, release)
    before = managed.layout.release(release.id).stat().st_ino
    assert agent.do("missing", release.announcement())["missing"] == []
    assert agent.do("assemble", release=release.id)["files"] == 2
    assert managed.layout.release(release.id).stat().st_ino == before


def test_unsigned_and_wrongly_signed_releases_are_refused_before_a_byte_travels(managed: ManagedHost) -> None:
    """By nobody, by a stranger, by somebody who may not, for another purpose, or over other bytes (A05)."""  # A05
    agent = managed.locked()
    good = managed.release()
    forged = msgspec.json.decode(msgspec.json.encode(managed.release(2).envelope))
    forged["signatures"] = msgspec.to_builtins(good.envelope)["signatures"]
    unsigned = {**forged, "signatures": []}
    other_purpose = managed.one.sign(good.envelope.body(), Purpose.BINDING)
    misused = {"payload": good.envelope.payload, "signatures": [{"armored": other_purpose}]}
    for bad in (forged, unsigned, misused, {**forged, "signatures": [{"armored": "x"}]}, {**forged, "payload": "%%%"}):
        assert agent.code("missing", zlib.compress(json.dumps(bad).encode())) == "signature"
    for signer in (managed.nobody, managed.two):
        assert agent.code("missing", managed.release(signer=signer).announcement()) == "signature"
    assert not list((managed.layout.agent_state / "incoming").iterdir())


def test_two_keys_of_one_person_are_one_vote(managed: ManagedHost) -> None:
    """A threshold counts distinct people with distinct keys (A04)."""  # A04
    policy = managed.policy(2, thresholds={"release": 2})
    people = [msgspec.structs.replace(person, roles=("operator", "risk")) for person in policy.people]
    shared = msgspec.structs.replace(people[1], keys=(managed.two.public_line, managed.one.public_line))
    agent = managed.locked()
    for persons, code in (((people[0], shared), "signature"), (tuple(people), "")):
        body = msgspec.structs.replace(policy, people=persons, number=policy.number + (code == ""))
        agent.do("policy", policy=_signed(managed, body))
        release = managed.release()
        both = [managed.one.sign(release.envelope.body(), Purpose.RELEASE), managed.two.sign(release.envelope.body(), Purpose.RELEASE)]
        twice = {"payload": release.envelope.payload, "signatures": [{"armored": text} for text in both]}
        answer = agent.ask("missing", zlib.compress(json.dumps(twice).encode()))
        assert answer.get("error", {}).get("code", "") == code


def _signed(managed: ManagedHost, document: msgspec.Struct) -> dict[str, object]:
    return plain(envelope(document, Purpose.POLICY, managed.one))


def test_an_older_release_is_refused_unless_the_host_has_it(managed: ManagedHost) -> None:
    """Last month's signed release replayed: refused. The one before, still here: allowed, for a rollback (A07)."""  # A07
    agent = managed.locked()
    second, third = managed.release(2), managed.release(3)
    managed.stage(agent, second)
    managed.stage(agent, third)
    assert agent.do("missing", second.announcement())["missing"] == []
    assert agent.do("assemble", release=second.id)["release"] == second.id
    answer = agent.ask("missing", managed.release(1).announcement())
    assert (answer["error"]["code"], answer["error"]["detail"]) == ("older", {"highest": 3})
    assert agent.code("missing", managed.release(4, expires_wall_ns=1).announcement()) == "older"


def test_what_arrives_altered_is_refused(managed: ManagedHost) -> None:
    """A byte changed on the way, a blob nobody offered, a size that lies: refused, and nothing gets a name."""
    agent = managed.locked()
    release = managed.release(files={"a": b"right"})
    agent.do("missing", release.announcement())
    blobs = managed.layout.blobs
    wrong = frame(b"wrong", digest_bytes(b"right"))
    assert agent.code("receive", zlib.compress(wrong)) == "digest"
    assert agent.code("receive", zlib.compress(frame(b"nobody asked for this"))) == "bad_request"
    lie = bytes.fromhex(digest_bytes(b"right")[7:]) + (2**60).to_bytes(8, "big") + b"right"
    assert agent.code("receive", zlib.compress(lie)) == "bad_request"
    assert agent.code("receive", b"not zlib at all") == "bad_request"
    whole = zlib.compress(frame(b"right"))
    assert agent.code("receive", whole[:-4]) == "bad_request"
    assert agent.code("receive", whole + b"more") == "bad_request"
    assert agent.code("receive", zlib.compress(frame(b"right")[:-1])) == "bad_request"
    assert not list(blobs.glob(".partial-*"))
    assert agent.code("assemble", release=release.id) == "not_found"
    assert agent.do("receive", release.parcel(agent.do("missing", release.announcement())["missing"]))["stored"]
    assert agent.do("assemble", release=release.id)["files"] == 3


def test_a_hostile_announcement_is_bounded(managed: ManagedHost) -> None:
    """A zip bomb, rubbish, an envelope cut short, an empty body."""
    agent = managed.locked()
    assert agent.code("missing", zlib.compress(b"\0" * (70 << 20))) == "bad_request"
    assert agent.code("missing", b"rubbish") == "bad_request"
    assert agent.code("missing", managed.release().announcement()[:-5]) == "bad_request"
    assert agent.code("missing", b"") == "bad_request"
    assert agent.code("missing", zlib.compress(b"[]")) in ("bad_request", "internal")


def test_sigkill_in_mid_receive_leaves_nothing_that_counts(managed: ManagedHost) -> None:
    """The blob has no name, the next session sweeps the rest and is sent it again."""
    agent = managed.holding(managed.process())
    data = os.urandom(4 << 20)
    release = managed.release(files={"big": data})
    missing = agent.do("missing", release.announcement())["missing"]
    parcel = release.parcel(missing)
    agent.raw(
        json.dumps({"id": 1, "verb": "receive", "run": agent.run, "fence": agent.fence, "args": {}, "bytes": len(parcel)}).encode() + b"\n"
    )
    agent.raw(parcel[: len(parcel) // 2])
    until(lambda: list(managed.layout.blobs.glob(".partial-*")), 10)
    agent.kill()
    assert list(managed.layout.blobs.glob(".partial-*"))
    again = managed.agent()
    assert managed.lock(again, takeover=True)["ok"]
    missing = again.do("missing", release.announcement())["missing"]
    assert digest_bytes(data) in missing
    assert not list(managed.layout.blobs.glob(".partial-*"))
    again.do("receive", release.parcel(missing))
    assert again.do("assemble", release=release.id)["files"] == 3


def test_a_damaged_blob_is_found_and_fetched_again(managed: ManagedHost) -> None:
    """What lies here is hashed again before anything is built from it."""
    agent, release = managed.locked(), managed.release(files={"a": b"right"})
    missing = agent.do("missing", release.announcement())["missing"]
    agent.do("receive", release.parcel(missing))
    name = hashlib.sha256(b"right").hexdigest()
    blob = managed.layout.blobs / name[:2] / name
    blob.chmod(0o600)
    blob.write_bytes(b"wrong")
    assert agent.code("assemble", release=release.id) == "digest"
    assert not managed.layout.release(release.id).exists()
    assert agent.do("missing", release.announcement())["missing"] == [digest_bytes(b"right")]
    blob.write_bytes(b"Right") if blob.exists() else None
    assert agent.do("missing", release.announcement())["missing"] == [digest_bytes(b"right")]
    agent.do("receive", release.parcel([digest_bytes(b"right")]))
    assert agent.do("assemble", release=release.id)["files"] == 3


def test_a_damaged_release_is_replaced_by_staging_it_again(managed: ManagedHost) -> None:
    """A file changed by hand: the next staging puts a whole release under the name."""
    agent, release = managed.locked(), managed.release()
    managed.stage(agent, release)
    changed = managed.layout.release(release.id) / "tree" / "run.py"
    changed.chmod(0o644)
    changed.write_text("changed")
    managed.stage(agent, release)
    assert changed.read_bytes() == release.content["run.py"]
    assert not [path for path in managed.layout.releases.iterdir() if path.name.startswith(".")]


def test_links_stay_inside_the_tree(managed: ManagedHost) -> None:
    """A link within is made; one that could lead out is refused with its path."""
    agent = managed.locked()
    link = File("lib/current", 0o777, 3, digest_bytes(b"pkg"), "pkg")
    release = _with_files(managed, (link,))
    managed.stage(agent, release)
    made = managed.layout.release(release.id) / "tree" / "lib" / "current"
    assert made.is_symlink() and str(made.readlink()) == "pkg"
    for target in ("/etc/passwd", "../../etc", "..", "pkg/../../..", "", "a//b", "../lib/../.."):
        bad = File("lib/current", 0o777, len(target), digest_bytes(target.encode()), target)
        assert agent.code("missing", _with_files(managed, (bad,)).announcement()) == "bad_request"


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/cron.d/x", "a/../b", "a//b", "./a", "a/", "", "a\0b", "x" * 300, "/".join(["d"] * 600), "run.py", "run.py/below", "lib"],
)
def test_hostile_paths_are_refused(managed: ManagedHost, path: str) -> None:
    """Out of the tree, oddly written, too long, twice, below a file, a file that is a folder: refused, whoever signed it."""
    release = _with_files(managed, (File(path, 0o644, 1, digest_bytes(b"x")),))
    assert managed.locked().code("missing", release.announcement()) == "bad_request"


def test_odd_manifests_are_refused(managed: ManagedHost) -> None:
    """Another service, set-user-id bits, a digest that is none, removed code that is there (D04), bytes not canonical."""  # D04
    agent = managed.locked()
    odd_fields: tuple[dict[str, Any], ...] = (
        {"service": "other"},
        {"service": ""},
        {"number": -1},
        {"files": ()},
        {"files": (File("a", 0o4755, 1, digest_bytes(b"x")),)},
        {"files": (File("a", 0o644, 1, "sha256:xyz"),)},
        {"files": (File("a", 0o644, 1 << 40, digest_bytes(b"x")),)},
        {"removed": ("run.py",)},
        {"removed": ("lib",)},
        {"removed": ("../x",)},
    )
    for changes in odd_fields:
        odd = TestRelease.of(managed.release().content, 1, managed.one, changes)
        assert agent.code("missing", odd.announcement()) == "bad_request", changes
    loose = json.dumps(json.loads(managed.release().envelope.body())).encode()
    signature = managed.one.sign(loose, Purpose.RELEASE)
    assert agent.code("missing", zlib.compress(msgspec.json.encode(Envelope.of(loose, signature)))) == "bad_request"


def test_assemble_wants_a_release_that_was_offered(managed: ManagedHost) -> None:
    """Unknown: not_found. Offered and not sent: not_found, and the name leads to nothing."""
    agent, release = managed.locked(), managed.release()
    assert agent.code("assemble", release=release.id) == "not_found"
    agent.do("missing", release.announcement())
    assert agent.code("assemble", release=release.id) == "not_found"
    assert list(managed.layout.releases.iterdir()) == []


@pytest.fixture
def small_disk(managed: ManagedHost) -> Iterator[Path]:
    """A disk of 256 KiB where the blobs lie."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(managed.layout.blobs)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this machine mounts no tmpfs")
    yield managed.layout.blobs
    managed.close()
    subprocess.run(["umount", str(managed.layout.blobs)], check=True)


def test_a_full_disk_is_said_and_nothing_half_written_counts(managed: ManagedHost, small_disk: Path) -> None:
    """The session goes on; when there is room again, so does the transfer."""
    agent = managed.locked()
    data = os.urandom(1 << 20)
    release = managed.release(files={"big": data})
    missing = agent.do("missing", release.announcement())["missing"]
    assert agent.code("receive", release.parcel(missing)) == "disk_full"
    assert not list(small_disk.glob(".partial-*"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    agent.do("receive", release.parcel(agent.do("missing", release.announcement())["missing"]))
    assert agent.do("assemble", release=release.id)["files"] == 3


def test_a_read_only_disk_is_said(managed: ManagedHost, small_disk: Path) -> None:
    """By preflight's facts, and by the verb."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    agent, release = managed.locked(), managed.release()
    assert agent.do("facts")["writable"] is False
    missing = agent.do("missing", release.announcement())["missing"]
    assert agent.code("receive", release.parcel(missing)) == "read_only"


def _with_files(managed: ManagedHost, more: tuple[File, ...]) -> TestRelease:
    content = managed.release().content
    files = tuple(File(path, 0o644, len(data), digest_bytes(data)) for path, data in content.items())
    return TestRelease.of(content, 1, managed.one, {"files": files + more})
