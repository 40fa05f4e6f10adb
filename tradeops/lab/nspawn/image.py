"""The base image that all hosts share, read-only: made once per recipe with debootstrap, kept in the cache folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tradeops.base.digest import canonical_json, digest_bytes, short
from tradeops.lab.errors import LabError
from tradeops.lab.tools import run

Progress = Callable[[str], None]

SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "ca-certificates", "iproute2", "sudo")
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty@.service",
    "systemd-pstore.service",
    "systemd-networkd-wait-online.service",
)
SSHD = "UseDNS no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
_REMOVED = ("etc/machine-id", "var/lib/dbus/machine-id", "var/cache/apt/archives", "var/lib/apt/lists")


def cache_folder() -> Path:
    """Where images are kept: below XDG_CACHE_HOME, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradeops" / "lab"


def recipe_digest() -> str:
    """Changes with anything that goes into the image."""
    recipe = {"suite": SUITE, "packages": PACKAGES, "masked": MASKED, "sshd": SSHD, "removed": _REMOVED, "layout": 1}
    return digest_bytes(canonical_json(recipe))


def ensure(progress: Progress, cache: Path | None = None) -> Path:
    """The folder of the image, built when it is not there: about a minute. Raises LabError."""
    folder = cache or cache_folder()
    image = folder / short(recipe_digest())
    if image.is_dir():
        return image
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if not image.is_dir():  # another lab may have built it while we waited
            _build(folder, image, progress)
    return image


def _build(folder: Path, image: Path, progress: Progress) -> None:
    for leftover in folder.glob(".build-*"):
        discard(leftover)
    building = folder / f".build-{image.name}"
    progress("building the base image (once, about a minute)")
    try:
        _debootstrap(building, progress)
        _adapt(building)
        building.rename(image)
    except BaseException:
        discard(building)
        raise


def _debootstrap(target: Path, progress: Progress) -> None:
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(target)]
    try:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise LabError("debootstrap is not on this machine", next="install debootstrap, or use the local driver") from None
    words: list[str] = []
    with process:
        for line in process.stdout or ():
            words = [*words[-8:], line.strip()]
            progress(line.strip().removeprefix("I: "))
    if process.returncode:
        raise LabError(
            f"debootstrap ended with {process.returncode}: {' / '.join(words)}", next="see whether the machine's package sources answer"
        )


def _adapt(image: Path) -> None:
    """What all hosts share: no identity of its own, no timers, keys only."""
    for name in _REMOVED:
        path = image / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (image / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    for key in (image / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in MASKED:
        link = image / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (image / "etc/ssh/sshd_config.d/lab.conf").write_text(SSHD)


def discard(folder: Path) -> None:
    """Remove a half-made image, with what debootstrap may have left mounted in it. Raises LabError, OSError."""
    for mounted in reversed(mounts_below(folder)):
        run(["umount", mounted])
    if folder.exists():
        shutil.rmtree(folder)


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or below `folder`, outer first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [point.encode().decode("unicode_escape") for point in points]
    return [point for point in plain if Path(point).is_relative_to(folder)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
