"""A release in one file: promoted by its digest, and never taken when it was built again."""

from __future__ import annotations

import tarfile
from pathlib import Path

import msgspec
import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused, SignatureInvalid, UsageError
from tradeops.release.archive import read_archive, write_archive
from tradeops.release.store import Store
from tradeops.release.verify import verify_stored


@pytest.fixture
def production(tmp_path: Path) -> Store:
    """Another fleet's store."""
    return Store(tmp_path / "production")


def test_the_same_release_arrives(workshop: Workshop, production: Store, tmp_path: Path) -> None:
    """D16: built once; the digest in production is that of staging, every byte checked; the same archive twice is the same file."""
    workshop.write("twin", "1,2\n")
    (workshop.folder / "link").symlink_to("main.py")
    built = workshop.build()
    write_archive(built, workshop.policy, tmp_path / "one.tar")
    write_archive(built, workshop.policy, tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    there = read_archive(tmp_path / "one.tar", production, workshop.policy, digest=built.id)
    assert there.id == built.id
    verify_stored(there, workshop.policy)
    assert read_archive(tmp_path / "one.tar", production, workshop.policy).id == built.id
    with pytest.raises(UsageError, match="already"):
        write_archive(built, workshop.policy, tmp_path / "one.tar")


def test_a_rebuilt_artefact_is_refused(workshop: Workshop, production: Store, tmp_path: Path) -> None:
    """D16: the same number from other bytes is another release, and so is any other digest than the one that was tried."""
    tried = workshop.build()
    write_archive(tried, workshop.policy, tmp_path / "tried.tar")
    read_archive(tmp_path / "tried.tar", production, workshop.policy)
    workshop.write("main.py", "print('built again')\n")
    again = workshop.build(number=1, store=Store(tmp_path / "again"))
    write_archive(again, workshop.policy, tmp_path / "again.tar")
    with pytest.raises(Refused, match="D16"):
        read_archive(tmp_path / "again.tar", production, workshop.policy)
    with pytest.raises(Refused, match="D16"):
        read_archive(tmp_path / "again.tar", Store(tmp_path / "empty"), workshop.policy, digest=tried.id)
    assert [one.id for one in production.list()] == [tried.id]


def test_what_is_damaged_or_not_signed_here_is_refused(workshop: Workshop, production: Store, tmp_path: Path) -> None:
    """A05: a missing content, another content, a stranger's signature, a file that is no archive: nothing is kept."""
    path = tmp_path / "good.tar"
    write_archive(workshop.build(), workshop.policy, path)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path / "parts", filter="data")
    for broken in ("missing", "other", "longer"):
        with tarfile.open(tmp_path / f"{broken}.tar", "w") as tar:
            for name in names:
                part = tmp_path / "parts" / name
                if name == names[-1] and broken == "missing":
                    continue
                if name == names[-1]:
                    part.write_bytes(b"x" * (part.stat().st_size + (broken == "longer")))
                tar.add(part, name)
        with pytest.raises((Refused, UsageError)):
            read_archive(tmp_path / f"{broken}.tar", production, workshop.policy)
    stranger = msgspec.structs.replace(workshop.policy, people=())
    with pytest.raises(SignatureInvalid):
        read_archive(path, production, stranger)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UsageError, match="not the archive"):
        read_archive(tmp_path / "text", production, workshop.policy)
    assert production.list() == []
