"""Platform releases on the operator's machine: built once per source and signer, whole or not there."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from tests.support.agenthost import PYTHON
from tradeops.base.errors import UsageError
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.signature import RunKey, verify
from tradeops.fleet.platform import SERVICE, Platform, build_platform, load_platform, source_key


def _fill(into: Path) -> None:
    (into / "lib" / "deep").mkdir(parents=True)
    (into / "lib" / "deep" / "a.py").write_text("a = 1\n")
    (into / "guard.py").write_text("guard\n")


def _build(folder: Path, signer: RunKey, key: str = "k1", number: int | None = None) -> Platform:
    return build_platform(_fill, signer, key=key, python=PYTHON, folder=folder, number=number)


def test_a_platform_is_described_and_signed_like_a_release(tmp_path: Path) -> None:
    """Every file with its digest, under its own purpose, its id the digest of the manifest."""
    signer = RunKey.generate()
    built = _build(tmp_path, signer)
    release = built.manifest.predicate
    assert (release.service, release.number, [file.path for file in release.files]) == (SERVICE, 1, ["guard.py", "lib/deep/a.py"])
    assert verify(built.envelope.signatures[0].armored, built.envelope.body(), Purpose.PLATFORM) == signer.public_line
    assert built.manifest.id() == built.id
    digest, size, path = built.part(release.files[0].digest)
    assert (digest, size, path.read_text()) == (release.files[0].digest, 6, "guard\n")
    with pytest.raises(UsageError, match="has no file"):
        built.part("sha256:" + "0" * 64)


def test_the_same_source_and_signer_is_taken_and_anything_else_is_built(tmp_path: Path) -> None:
    """Numbers rise by one with each that is really new."""
    signer = RunKey.generate()
    first = _build(tmp_path, signer)
    assert _build(tmp_path, signer).id == first.id
    assert _build(tmp_path, signer, key="k2").number == 2
    assert _build(tmp_path, RunKey.generate()).number == 3
    assert _build(tmp_path, signer, number=9).number == 9
    assert _build(tmp_path, signer, key="k3").number == 10


def test_a_damaged_platform_counts_for_nothing(tmp_path: Path) -> None:
    """A changed file: refused when loaded, built again when asked for."""
    signer = RunKey.generate()
    built = _build(tmp_path, signer)
    (built.folder / "guard.py").write_text("other\n")
    with pytest.raises(UsageError, match="not what was signed"):
        load_platform(built.folder.parent)
    again = _build(tmp_path, signer)
    assert (again.folder / "guard.py").read_text() == "guard\n" and again.id == built.id


def test_a_link_is_no_part_of_a_platform(tmp_path: Path) -> None:
    """Plain files only: enrolment unpacks nothing else."""

    def fill(into: Path) -> None:
        _fill(into)
        (into / "link").symlink_to("guard.py")

    with pytest.raises(UsageError, match="plain files only"):
        build_platform(fill, RunKey.generate(), key="k", python=PYTHON, folder=tmp_path)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_the_archive_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """And holds the tree."""
    built = _build(tmp_path, RunKey.generate())
    archive = built.archive()
    assert archive == built.archive()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        assert tar.getnames() == ["guard.py", "lib/deep/a.py"]


def test_the_source_key_changes_with_lock_code_and_interpreter(tmp_path: Path) -> None:
    """What a platform is made from, and nothing else."""
    lock, package = tmp_path / "lock", tmp_path / "package"
    (package / "agent").mkdir(parents=True)
    (package / "cli").mkdir()
    (package / "agent" / "a.py").write_text("1")
    lock.write_text("x==1")
    key = source_key(lock, PYTHON, package)
    (package / "cli" / "b.py").write_text("2")
    assert source_key(lock, PYTHON, package) == key
    (package / "agent" / "a.py").write_text("2")
    other = source_key(lock, PYTHON, package)
    lock.write_text("x==2")
    assert len({key, other, source_key(lock, PYTHON, package)}) == 3
