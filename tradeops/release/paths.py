"""Which paths and links may stand in a release: relative, plain, inside the tree."""

from __future__ import annotations

PATH_CHARS_MAX = 1024
_NAME_BYTES_MAX = 255


def path_problem(path: str) -> str | None:
    """What is wrong with `path` as a file of a release; None when nothing is."""
    if not path or len(path) > PATH_CHARS_MAX:
        return f"is empty or longer than {PATH_CHARS_MAX} characters"
    if path.startswith("/") or "\\" in path:
        return "is not a relative path with forward slashes"
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in path):
        return "has a control character or undecodable bytes in its name"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, `.` or `..`"
    if any(len(part.encode()) > _NAME_BYTES_MAX for part in parts):
        return f"has a name longer than {_NAME_BYTES_MAX} bytes"
    return None


def link_problem(path: str, target: str) -> str | None:
    """What is wrong with a symbolic link at `path` to `target`; None when it stays inside the tree.

    `..` may stand only at the start: past another link it would lead somewhere else than it reads.
    """
    if not target or target.startswith("/") or len(target) > PATH_CHARS_MAX or "\0" in target:
        return f"links to {target[:80]!r}, which is not a relative path"
    parts = target.split("/")
    climb = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if climb > path.count("/") or not parts[climb:] or any(part in ("", ".", "..") for part in parts[climb:]):
        return f"links to {target[:80]!r}, which may leave the release"
    return None
