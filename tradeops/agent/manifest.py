"""A release's or a platform's manifest as the agent trusts it: bounded, every path inside the tree, links confined."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import BAD_REQUEST, AgentError
from .files import canonical, parse_object
from .names import is_digest
from .verify import body_of

FILES_MAX = 200_000
BYTES_MAX = 16 << 30
PATH_BYTES_MAX = 1024
_NAME_BYTES_MAX = 255


@dataclass(frozen=True)
class File:
    """One entry of the tree. link: the target of a symbolic link, whose text size and digest are of."""

    path: str
    mode: int
    size: int
    digest: str
    link: str | None

    def read_only_mode(self) -> int:
        """The permission bits on a host: nobody writes."""
        return self.mode & 0o555


@dataclass(frozen=True)
class Manifest:
    """What the signature is over. id: digest of the signed bytes."""

    id: str
    service: str
    number: int
    files: tuple[File, ...]
    removed: tuple[str, ...]
    start: dict[str, Any]
    expires_wall_ns: int | None


def parse(envelope: dict[str, Any]) -> Manifest:
    """The manifest in an envelope; its signature is not asked here. Raises AgentError (bad_request, signature)."""
    return _parse(body_of(envelope))


@lru_cache(maxsize=4)  # a session meets the same few again and again
def _parse(body: bytes) -> Manifest:
    raw = parse_object(body, "the manifest")
    if canonical(raw) != body:
        raise _refused("it is not in canonical form, so its digest would be ambiguous")
    try:
        release = raw["predicate"]
        files = tuple(_file(file) for file in release["files"])
        removed = tuple(_path(path) for path in release.get("removed", ()))
        manifest = Manifest(
            id="sha256:" + hashlib.sha256(body).hexdigest(),
            service=_text(release["service"]),
            number=_whole(release["number"]),
            files=files,
            removed=removed,
            start=dict(release["start"]),
            expires_wall_ns=release.get("expires_wall_ns"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(f"malformed: {error!r}") from None
    _check_tree(manifest)
    return manifest


def _file(raw: dict[str, Any]) -> File:
    link = raw.get("link")
    file = File(_path(raw["path"]), _whole(raw["mode"]), _whole(raw["size"]), raw["digest"], link)
    if not is_digest(file.digest) or file.mode > 0o777:
        raise _refused(f"{file.path}: its digest or mode is not one")
    if link is not None and (_whole(len(_path_text(link).encode())) != file.size or not _confined(file.path, link)):
        raise _refused(f"{file.path}: a link to {link!r} could lead out of the tree")
    return file


def _confined(path: str, target: str) -> bool:
    """Only upwards first and then down, never above the tree: such a link stays inside whatever it passes through."""
    parts = target.split("/")
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    down = parts[ups:]
    return bool(down) and ups <= path.count("/") and all(part not in ("", ".", "..") for part in down)


def _path(value: object) -> str:
    path = _path_text(value)
    parts = path.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > _NAME_BYTES_MAX for part in parts) or path != posixpath.normpath(path):
        raise _refused(f"the path {path!r} leaves the tree or is oddly written")
    return path


def _path_text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value or len(value.encode()) > PATH_BYTES_MAX:
        raise _refused(f"{str(value)[:100]!r} is not a path")
    return value


def _check_tree(manifest: Manifest) -> None:
    """No entry twice, none below another, nothing that is declared removed (D04), not too much of it."""
    paths = {file.path for file in manifest.files}
    if not manifest.files or len(paths) != len(manifest.files) or len(paths) > FILES_MAX:
        raise _refused("it has no files, too many, or one twice")
    if sum(file.size for file in manifest.files) > BYTES_MAX:
        raise _refused(f"it is larger than {BYTES_MAX} bytes")
    removed = set(manifest.removed)
    for path in paths:
        above = _above(path)
        if inside := paths.intersection(above):
            raise _refused(f"{path} lies below {min(inside)}, which is a file")
        if gone := removed.intersection([path, *above]):
            raise _refused(f"{path} is there although {min(gone)} is declared removed")


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def folders(files: tuple[File, ...]) -> set[str]:
    """Every folder that the files imply."""
    return {folder for file in files for folder in _above(file.path)}


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refused(f"{str(value)[:40]!r} is not a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _refused("its service has no name")
    return value


def _refused(why: str) -> AgentError:
    return AgentError(BAD_REQUEST, f"the manifest is refused: {why}", next="build the release again")
