"""Makes a machine a managed host: run by the admin's hand at enrolment, with the platform's tree unpacked beside it.

Everything may be run again: what is right is left alone, what is wrong is put right, no number is taken back.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from . import documents, install_units, install_users, lock, offer, release, verify
from .clock import NS_PER_S, Clock
from .errors import BAD_REQUEST, DIGEST, SERVICE, AgentError, from_os_error
from .files import canonical, fsync_dir, relink, remove_tree, sync_tree, write_atomic
from .hostfile import Context, parse_host
from .install_users import Owner
from .manifest import Manifest, parse
from .names import SLOTS, Layout, linked_digest
from .vitals import halted_page, read_latch

SPEC_SCHEMA = "tradeops/enrolment/v1"
_LAUNCHER = '''#!{interpreter} -IB
"""{says}"""

import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str((root / "platform" / "current").resolve()))

from agent.{module} import main  # noqa: E402  # the path comes first

sys.exit(main({args}))
'''
_LAUNCHERS = {
    "tradeops-agent": ("session", "What the forced command runs: the agent of the platform in force.", "root"),
    "tradeops-start": ("start", "What a slot's unit runs.", "root, sys.argv[1:]"),
    "tradeops-stop": ("stop_all", "How the guard has a hung trader killed: no arguments.", "root"),
}


def install(spec: dict[str, Any], tree: Path) -> dict[str, Any]:
    """Do it all. tree: the unpacked platform, which becomes part of the host. Raises AgentError, OSError.

    The result: {host, platform, changed: [what was not as it should be]}.
    """
    if spec.get("schema") != SPEC_SCHEMA:
        raise AgentError(BAD_REQUEST, f"an enrolment of schema {spec.get('schema')!r} is not understood")
    layout, host = Layout(Path(spec["root"])), parse_host(spec["host"], "the enrolment")
    context = Context(layout, host, Clock(host.clock_offset_ns))
    changed: list[str] = []
    _check_tools(context, spec)
    people = install_users.ensure(host, spec.get("login"), changed)
    _folders(layout, people)
    _documents(context, spec, changed)
    digest = _platform(context, spec["platform"], tree, changed)
    _lock_state(context, changed)
    _write(layout.host_file, canonical(spec["host"]), 0o644, changed)
    _tls(layout, spec.get("tls") or {}, people.guard, changed)
    _stop_page(layout, people.guard, changed)
    for name, (module, says, args) in _LAUNCHERS.items():
        text = _LAUNCHER.format(interpreter=host.interpreter, says=says, module=module, args=args)
        _write(layout.bin / name, text.encode(), 0o755, changed)
    install_users.let_in(layout, spec.get("login"), changed)
    install_units.ensure(context, changed, restart=bool(changed))
    return {"host": host.host, "platform": digest, "changed": changed}


def answer(spec: dict[str, Any], tree: Path) -> dict[str, Any]:
    """Install, and say how it went in the words of the agent's protocol."""
    try:
        return {"ok": True, "result": install(spec, tree)}
    except AgentError as error:
        refusal = error
    except OSError as error:
        refusal = from_os_error(error)
    return {"ok": False, "error": {"code": refusal.code, "what": refusal.what, "next": refusal.next}}


def _check_tools(context: Context, spec: dict[str, Any]) -> None:
    """What the host must have before anything is touched. Raises AgentError (service)."""
    if context.host.service_manager not in install_units.MANAGERS:
        raise AgentError(BAD_REQUEST, f"{context.host.service_manager!r} is not a service manager that we know")
    needed = ["ssh-keygen"]
    if context.host.service_manager == "systemd":
        needed += ["systemctl"]
    login = spec.get("login")
    if login and login["user"] != "root":
        needed += ["sudo", "useradd"]
    lacking = [name for name in needed if shutil.which(name) is None]
    if lacking:
        raise AgentError(SERVICE, f"the host lacks {', '.join(lacking)}", next="install openssh-client and sudo on it, then enrol it again")


def _folders(layout: Layout, people: install_users.People) -> None:
    """Every folder with its owner and mode; what is there is put right."""
    root, guard, trader = people.root, people.guard, people.trader
    wanted: list[tuple[Path, Owner, int]] = [
        (layout.root, root, 0o755),
        *((layout.root / name, root, 0o755) for name in ("bin", "etc", "platform", "releases", "slots", "latched", "logs")),
        (layout.tls, guard, 0o700),
        (layout.agent_state, root, 0o700),
        (layout.incoming, root, 0o700),
        (layout.blobs, root, 0o700),
        (layout.guard_state, guard, 0o700),
        (layout.stop_page.parent, guard, 0o755),
        (layout.vitals_page(SLOTS[0]).parent, trader, 0o755),
        (layout.data, trader, 0o750),
        *((layout.slot(slot), root, 0o755) for slot in SLOTS),
    ]
    for folder, owner, mode in wanted:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise AgentError(BAD_REQUEST, f"{folder} is a link; the root folder of tradeops holds none")
        os.chown(folder, owner.uid, owner.gid)
        folder.chmod(mode)


def _documents(context: Context, spec: dict[str, Any], changed: list[str]) -> None:
    """Policy first: by the admin's hand when there is none yet, else as any newer one. Then the roster."""
    layout = context.layout
    policy = spec["policy"]
    if layout.policy_file.exists():
        before = layout.policy_file.read_bytes()
        documents.set_policy(context, policy)
    else:
        before = b""
        verify.entitled(verify.parse_policy(verify.body_of(policy)), "policy", policy, verify.POLICY)
        write_atomic(layout.policy_file, canonical(policy), 0o644)
    if layout.policy_file.read_bytes() != before:
        changed.append("policy")
    roster = spec.get("roster")
    if roster:
        before = layout.roster_file.read_bytes() if layout.roster_file.exists() else b""
        documents.set_roster(context, roster)
        if layout.roster_file.read_bytes() != before:
            changed.append("roster")


def _platform(context: Context, envelope: dict[str, Any], tree: Path, changed: list[str]) -> str:
    """Put the unpacked tree in its place, every byte checked against the signed manifest. Raises AgentError."""
    manifest = parse(envelope)
    if manifest.service != offer.PLATFORM_SERVICE:
        raise AgentError(BAD_REQUEST, f"this is a release of {manifest.service!r}, not a platform")
    offer.check_signature(context, envelope, manifest)
    offer.check_age(context, manifest)
    _own(tree, manifest)
    if bad := release.differences(tree, manifest):
        raise AgentError(DIGEST, f"the platform did not arrive as it was signed: {', '.join(bad[:5])}", next="enrol the host again")
    folder = context.layout.platforms / manifest.id[7:]
    if not (folder.is_dir() and not release.differences(folder, manifest)):
        sync_tree(tree)
        release.put(tree, folder)
        changed.append("platform files")
    remove_tree(tree)
    _write(folder.with_suffix(".json"), canonical(envelope), 0o444, changed)
    if linked_digest(context.layout.platform) != manifest.id:
        relink(context.layout.platform, manifest.id[7:])
        changed.append("platform")
    offer.note_number(context, manifest)
    return manifest.id


def _own(tree: Path, manifest: Manifest) -> None:
    """Owner and modes of what was just unpacked, as the manifest says."""
    modes = {file.path: file.read_only_mode() for file in manifest.files if file.link is None}
    for here, names, files in os.walk(tree):
        for name in files:
            path = Path(here, name)
            mode = modes.get(path.relative_to(tree).as_posix())
            if mode is not None and not path.is_symlink():
                path.chmod(mode)
        for name in names:
            Path(here, name).chmod(release.FOLDER_MODE)
    tree.chmod(release.FOLDER_MODE)


def _lock_state(context: Context, changed: list[str]) -> None:
    """A damaged fence is replaced by one that no run can have been given: seconds since 1970."""
    try:
        lock.load(context)
    except AgentError:
        state = {"fence": context.clock.wall_ns() // NS_PER_S, "lease": None}
        write_atomic(context.layout.agent_state / "lock.json", canonical(state))
        changed.append("lock state")


def _tls(layout: Layout, files: dict[str, str], guard: Owner, changed: list[str]) -> None:
    """The guard's certificate and key, readable by the guard alone."""
    for name in ("ca.pem", "guard.pem", "guard.key"):
        if name in files:
            _write(layout.tls / name, files[name].encode(), 0o600, changed)
            os.chown(layout.tls / name, guard.uid, guard.gid)


def _stop_page(layout: Layout, guard: Owner, changed: list[str]) -> None:
    """A halted page where there is none that adds up in size; one that is there is never written by an enrolment."""
    path = layout.stop_page
    if not path.exists() or read_latch(path.read_bytes()) is None:
        write_atomic(path, halted_page(), 0o644)
        changed.append("stop page")
    os.chown(path, guard.uid, guard.gid)
    path.chmod(0o644)


def _write(path: Path, data: bytes, mode: int, changed: list[str]) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data, mode)
        fsync_dir(path.parent)
        changed.append(path.name)
    path.chmod(mode)
