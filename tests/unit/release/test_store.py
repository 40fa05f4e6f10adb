"""The store: content-addressed, whole or absent, and altered contents are found where they are used."""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.digest import digest_bytes
from tradeops.base.errors import Refused, SignatureInvalid, UsageError
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import RunKey
from tradeops.release.build import sign_manifest
from tradeops.release.store import Store, blob_path, contents
from tradeops.release.verify import verify_envelope, verify_stored


def unpack(stream: Iterable[bytes]) -> dict[str, bytes]:
    """What a host makes of a parcel."""
    data = zlib.decompress(b"".join(stream))
    found, at = {}, 0
    while at < len(data):
        raw, size = struct.unpack_from(">32sQ", data, at)
        at += 40
        found["sha256:" + raw.hex()] = data[at : at + size]
        at += size
    return found


def test_get_by_id_and_by_a_unique_beginning(workshop: Workshop) -> None:
    """Whole id, bare hex, first digits; ambiguous, too short and unknown are refused with what to do."""
    first, second = workshop.build(), workshop.build()
    for reference in (first.id, first.id[7:], first.id[7:15], first.id[:20].upper().replace("SHA256", "sha256")):
        assert workshop.store.get(reference).id == first.id
    for reference in ("", "sha256:", "abc", "f" * 64, "../../etc"):
        with pytest.raises(UsageError):
            workshop.store.get(reference)
    assert [one.id for one in workshop.store.list()] == [second.id, first.id]
    assert workshop.store.manifest(first.id) == first.manifest
    assert Store(workshop.folder / "nothing").list() == []


def test_an_ambiguous_beginning_names_the_candidates(workshop: Workshop) -> None:
    """Two releases whose ids begin alike."""
    store = workshop.store
    release = workshop.build()
    folder = store.root / "envelopes"
    for name in ("abcd" + "0" * 60, "abcd" + "1" * 60):
        (folder / f"{name}.json").write_bytes((folder / f"{release.id[7:]}.json").read_bytes())
    with pytest.raises(UsageError, match="fits 2 releases"):
        store.get("abcd")


def test_a_parcel_holds_what_is_missing(workshop: Workshop) -> None:
    """Each content once, its size known beforehand; the envelope goes compressed."""
    workshop.write("twin", "1,2\n")
    (workshop.folder / "link").symlink_to("main.py")
    workshop.write("empty", "")
    release = workshop.build()
    wanted = sorted(file.digest for file in contents(release.manifest))
    stream, size = workshop.store.parcel(release.id, wanted)
    slices = list(stream)
    assert sum(map(len, slices)) == size
    assert max(map(len, slices)) <= 32 << 10
    unpacked = unpack(slices)
    assert sorted(unpacked) == wanted
    assert all(digest_bytes(content) == digest for digest, content in unpacked.items())
    announced = msgspec.json.decode(zlib.decompress(workshop.store.announcement(release.id)), type=Envelope)
    assert announced == release.envelope
    nothing, size = workshop.store.parcel(release.id, [])
    assert unpack(nothing) == {}
    assert size > 0


def test_many_hosts_share_one_parcel(workshop: Workshop) -> None:
    """Made once, read side by side; old ones do not pile up."""
    for number in range(20):
        workshop.write(f"file-{number}", f"content {number}\n" * 1000)
    release = workshop.build()
    wanted = [file.digest for file in contents(release.manifest)]
    results: list[dict[str, bytes]] = []
    threads = [threading.Thread(target=lambda: results.append(unpack(workshop.store.parcel(release.id, wanted)[0]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] for result in results)
    for digest in wanted:
        workshop.store.parcel(release.id, [digest])
    assert len(list((workshop.store.root / "parcels").iterdir())) <= 17


def test_only_the_release_travels(workshop: Workshop) -> None:
    """A host that asks for something else, or for a path, gets nothing."""
    release = workshop.build()
    for digest in (digest_bytes(b"other"), "sha256:../../etc/passwd"):
        with pytest.raises(Refused, match="no part of"):
            workshop.store.parcel(release.id, [digest])
    with pytest.raises(UsageError):
        blob_path(workshop.store.root, "sha256:../x")


@pytest.mark.parametrize("damage", ["flip", "longer", "shorter", "gone"])
def test_a_damaged_content_is_found_before_it_leaves(workshop: Workshop, damage: str) -> None:
    """A05: one byte changed in the store: neither sent nor verified."""
    release = workshop.build()
    digest = next(file.digest for file in release.manifest.predicate.files if file.path == "main.py")
    blob = release.blob(digest)
    content = blob.read_bytes()
    blob.chmod(0o600)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes({"flip": b"P" + content[1:], "longer": content + b"x", "shorter": content[:-1]}[damage])
    with pytest.raises(Refused, match=r"main\.py"):
        verify_stored(release, workshop.policy)
    with pytest.raises((Refused, OSError)):
        list(workshop.store.parcel(release.id, [digest])[0])
    assert not list((workshop.store.root / "parcels").glob("*.z"))
    assert workshop.build(number=1).id == release.id
    verify_stored(release, workshop.policy)


def test_an_altered_envelope_is_found(workshop: Workshop) -> None:
    """A05: the file's name is the digest of what was signed."""
    release = workshop.build()
    path = workshop.store.root / "envelopes" / f"{release.id[7:]}.json"
    path.write_bytes(path.read_bytes().replace(b'"payload":"', b'"payload":"AAAA'))
    with pytest.raises(Refused, match="not the one"):
        Store(workshop.store.root).get(release.id)
    path.write_bytes(b"{}")
    with pytest.raises(UsageError):
        Store(workshop.store.root).get(release.id)


def test_signatures_of_releases(workshop: Workshop) -> None:
    """A05: unsigned, by a stranger, for another purpose, for another manifest: not installed."""
    release = workshop.build()
    body = release.envelope.body()
    stranger = RunKey.generate()
    assert verify_envelope(release.envelope, workshop.policy) == release.manifest
    for envelope in (
        Envelope.of(body),
        sign_manifest(release.manifest, stranger),
        Envelope.of(body, workshop.signer.sign(body, Purpose.PLATFORM)),
        Envelope.of(body + b" ", release.envelope.signatures[0].armored),
    ):
        with pytest.raises(SignatureInvalid):
            verify_envelope(envelope, workshop.policy)
    platform = sign_manifest(release.manifest, workshop.signer, Purpose.PLATFORM)
    assert verify_envelope(platform, workshop.policy, purpose=Purpose.PLATFORM) == release.manifest


def test_a_file_that_changes_while_it_is_kept_makes_no_release(workshop: Workshop, tmp_path: Path) -> None:
    """What was hashed is what is kept, or nothing is."""
    release = workshop.build()
    workshop.write("main.py", "print('changed in between')\n")
    other = Store(tmp_path / "other")
    with pytest.raises(UsageError, match="changed"):
        other.put(release.envelope, workshop.folder)
    assert other.list() == []
    (workshop.folder / "main.py").unlink()
    with pytest.raises(UsageError, match="cannot be kept"):
        other.put(release.envelope, workshop.folder)
    assert not list(other.root.rglob(".putting-*"))


def test_blobs_are_read_only_and_hashed(workshop: Workshop) -> None:
    """What lies there is what its name says, and nobody writes to it by accident."""
    release = workshop.build()
    for file in contents(release.manifest):
        blob = release.blob(file.digest)
        assert blob.stat().st_mode & 0o777 == 0o400
        assert blob.name == hashlib.sha256(blob.read_bytes()).hexdigest()
