"""One managed host in a folder: enrolled for real, with a real supervisord, ssh-keygen and agent processes."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from tests.support.agentsession import Agent, ProcessAgent, ShiftedClock, SomeAgent, ThreadAgent
from tests.support.wait import until
from tradeops.agent import install
from tradeops.agent.bootstrap import unpack
from tradeops.agent.hostfile import Context, load_context
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.binding import BINDING_SCHEMA, Binding
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import SCHEMA as DIRECTIVE_SCHEMA
from tradeops.contracts.directive import Delegation, Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.manifest import PREDICATE_TYPE, STATEMENT_TYPE, File, Manifest, PythonAbi, Release, Start, Subject
from tradeops.contracts.policy import SCHEMA as POLICY_SCHEMA
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.roster import SCHEMA as ROSTER_SCHEMA
from tradeops.contracts.roster import Roster
from tradeops.contracts.signature import RunKey, Signer
from tradeops.fleet.channel import Finished
from tradeops.fleet.enroll import Admin, Enrolled, Enrolment, enroll, host_file
from tradeops.fleet.host import Host
from tradeops.fleet.inventory import Service
from tradeops.fleet.platform import Platform, build_platform
from tradeops.release.layers import compile_tree

FLEET, HOST, SERVICE = "test-fleet", "host-1", "trader"
RUN = "run-1"
AGENT = Path(__file__).parents[2] / "tradeops" / "agent"
_CLOCK = SystemClock()
PYTHON = PythonAbi("cp311", "linux_x86_64", "3.11")

GUARD = """\
import os, sys, time
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from agent.vitals import LATCH_AT, halted_page
page = os.open(sys.argv[2] + "/pages/stop.page", os.O_RDWR)
while True:
    os.pwrite(page, halted_page(time.monotonic_ns())[:LATCH_AT], 0)
    time.sleep(0.01)
"""
DAEMON = "import os, signal, sys\nsignal.pause()\n"


class LocalAdmin:
    """The admin's rights without a network: the command as a process of ours."""

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Run it here."""
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)


class InProcessAdmin:
    """The admin's rights without a network or a process: the installer on what the script would have unpacked."""

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Do what the script does, with this process's own modules."""
        size, _, rest = stdin.partition(b"\n")
        line, _, archive = rest[int(size) :].partition(b"\n")
        spec = json.loads(line)
        tree = Path(spec["root"]) / "platform" / ".partial-0-enrolment"
        unpack(io.BytesIO(archive), tree)
        try:
            answer = install.answer(spec, tree)
        finally:
            shutil.rmtree(tree, ignore_errors=True)
        return Finished(0, json.dumps(answer).encode() + b"\n", b"")


def envelope(document: msgspec.Struct, purpose: Purpose, *signers: Signer, delegation: Envelope | None = None) -> Envelope:
    """A signed document."""
    body = encode(document)
    return Envelope.of(body, *(signer.sign(body, purpose) for signer in signers), delegation=delegation)


def plain(signed: Envelope) -> dict[str, Any]:
    """An envelope as it travels in a request."""
    fields: dict[str, Any] = msgspec.to_builtins(signed)
    return fields


@dataclass
class ManagedHost:
    """Keys and folders of one host. one, two: people; nobody: a key that no policy names."""

    folder: Path
    one: RunKey = field(default_factory=RunKey.generate)
    two: RunKey = field(default_factory=RunKey.generate)
    nobody: RunKey = field(default_factory=RunKey.generate)
    run_key: RunKey = field(default_factory=RunKey.generate)
    agents: list[Agent] = field(default_factory=list)
    interpreter: str = sys.executable
    clock: ShiftedClock = field(default_factory=ShiftedClock)

    @property
    def root(self) -> Path:
        return self.folder / "opt"

    @property
    def layout(self) -> HostLayout:
        return HostLayout(self.root)

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    def host(self) -> Host:
        """As fleet rooms see it."""
        return Host(HOST, "127.0.0.1", 22, "tradeops", "", 1, self.interpreter, PurePosixPath(self.root), "supervisord")

    def operator_keys(self) -> tuple[str, ...]:
        """Who may reach its agent."""
        return (self.one.public_line,)

    def admin(self) -> Admin:
        """Who enrols it."""
        return InProcessAdmin()

    def policy(self, number: int = 1, **changes: Any) -> Policy:
        """Both people may do everything but permit alone; `changes` replace fields."""
        roles = {
            "operator": ("deploy", "release", "binding", "roster", "platform", "kill", "halt", "overlay", "policy"),
            "risk": ("kill", "halt", "permit"),
        }
        people = (Person("operator-1", (self.one.public_line,), ("operator",)), Person("risk-1", (self.two.public_line,), ("risk",)))
        return msgspec.structs.replace(Policy(POLICY_SCHEMA, FLEET, number, people, roles), **changes)

    def roster(self, number: int = 1) -> Envelope:
        """A signed roster."""
        return envelope(Roster(ROSTER_SCHEMA, FLEET, number, ()), Purpose.ROSTER, self.one)

    def platform(self, number: int = 1, guard: str = GUARD, signer: Signer | None = None) -> Platform:
        """A platform whose guard is a small program of the test."""

        def tree(into: Path) -> None:
            (into / "lib").mkdir(parents=True)
            (into / "lib" / "library.py").write_text(f"number = {number}\n")
            (into / "guard.py").write_text(guard)
            shutil.copytree(AGENT, into / "agent", ignore=shutil.ignore_patterns("__pycache__"))
            compile_tree(into / "agent")

        key = digest_bytes(guard.encode())
        return build_platform(tree, signer or self.one, key=key, number=number, python=PYTHON, folder=self.folder / "platforms")

    def enrol(
        self, platform: Platform | None = None, policy: Policy | None = None, roster: Envelope | None = None, admin: Admin | None = None
    ) -> Enrolled:
        """Enrol, or enrol again."""
        service, host = Service(SERVICE), self.host()
        signed = envelope(policy or self.policy(), Purpose.POLICY, self.one)
        enrolment = Enrolment(FLEET, platform or self.platform(), signed, roster or self.roster(), self.operator_keys())
        socket = str(self.socket) if host.service_manager == "supervisord" else None
        me = host_file(host, FLEET, service, supervisor_socket=socket)
        return enroll(admin or self.admin(), host, me, enrolment, {"ca.pem": "ca", "guard.pem": "certificate", "guard.key": "key"})

    def context(self) -> Context:
        """As the agent itself reads it, with the test's clock."""
        loaded = load_context(self.root)
        return Context(loaded.layout, loaded.host, self.clock)

    def agent_argv(self) -> list[str]:
        """What opens a session."""
        return [self.interpreter, "-I", "-B", str(self.root / "bin" / "tradeops-agent")]

    def agent(self) -> Agent:
        """A new session."""
        agent: Agent = ThreadAgent(self.context())
        self.agents.append(agent)
        return agent

    def process(self) -> ProcessAgent:
        """A new session with a process of its own."""
        agent = ProcessAgent(self.agent_argv())
        self.agents.append(agent)
        return agent

    def delegation(self, *, run: str = RUN, signer: Signer | None = None, **changes: Any) -> Envelope:
        """`deploy` lent to the run key for this host, for an hour."""
        now_ns = _CLOCK.wall_ns()
        lent = Delegation(
            "tradeops/delegation/v1", run, FLEET, (HOST,), ("deploy",), self.run_key.public_line, now_ns, now_ns + 3600 * NS_PER_S
        )
        return envelope(msgspec.structs.replace(lent, **changes), Purpose.DELEGATION, signer or self.one)

    def lock(self, agent: Agent, *, run: str = RUN, ttl_s: float = 60.0, takeover: bool = False) -> dict[str, Any]:
        """The answer to `lock`; the session goes on under it when it was given."""
        proof = self.run_key.sign(agent.hello["nonce"].encode(), Purpose.SESSION)
        words: dict[str, Any] = {"owner": "operator-1", "reason": "test", "ttl_s": ttl_s, "proof": proof, "takeover": takeover}
        agent.run = run
        answer = agent.ask("lock", delegation=plain(self.delegation(run=run)), **words)
        if answer["ok"]:
            agent.fence = answer["result"]["fence"]
        return answer

    def locked(self) -> Agent:
        """A new session that holds the host."""
        return self.holding(self.agent())

    def holding(self, agent: SomeAgent) -> SomeAgent:
        """The session, which holds the host from now on."""
        answer = self.lock(agent)
        assert answer["ok"], answer
        return agent

    def kill(self, name: str = "kill-1", signer: Signer | None = None, **changes: Any) -> Envelope:
        """A signed kill of this host, issued long ago."""
        said = Directive(DIRECTIVE_SCHEMA, name, Verb.KILL, FLEET, (HOST,), "test", 1, 2, Scope())
        return envelope(msgspec.structs.replace(said, **changes), Purpose.DIRECTIVE, signer or self.two)

    def binding(self, signer: Signer | None = None, **changes: Any) -> Envelope:
        """This host's signed binding."""
        said = Binding(BINDING_SCHEMA, FLEET, "test", HOST, SERVICE, (), (), {})
        return envelope(msgspec.structs.replace(said, **changes), Purpose.BINDING, signer or self.one)

    def release(
        self, number: int = 1, files: Mapping[str, bytes] | None = None, signer: Signer | None = None, **changes: Any
    ) -> TestRelease:
        """A signed release of `files`, by default a daemon that waits for ever."""
        content = {"run.py": DAEMON.encode(), "lib/pkg/a.py": f"n = {number}\n".encode(), **(files or {})}
        return TestRelease.of(content, number, signer or self.one, changes)

    def stage(self, agent: Agent, release: TestRelease) -> None:
        """Announce, send what lacks, assemble."""
        missing = agent.do("missing", release.announcement())["missing"]
        if missing:
            agent.do("receive", release.parcel(missing))
        agent.do("assemble", release=release.id)

    @contextmanager
    def supervisord(self) -> Iterator[None]:
        """The service manager, with the programs that a lab configures."""
        programs = {"guard": [str(self.layout.platform / "guard.py"), "--root", str(self.root)]}
        for slot in ("blue", "green"):
            programs[f"{SERVICE}-{slot}"] = [str(self.root / "bin" / "tradeops-start"), slot]
        text = f"[unix_http_server]\nfile={self.socket}\n[supervisord]\nlogfile={self.folder}/d.log\npidfile={self.folder}/d.pid\n"
        text += "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        for name, words in programs.items():
            command = " ".join([self.interpreter, "-I", "-B", *words])
            text += f"[program:{name}]\ncommand={command}\nautostart=false\nautorestart=false\nstartsecs=0\nkillasgroup=true\n"
            text += f"redirect_stderr=true\nstdout_logfile={self.folder}/{name}.log\n"
        conf = self.folder / "d.conf"
        conf.write_text(text)
        process = subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)], stdout=subprocess.DEVNULL)
        try:
            until(self.socket.exists, 20)
            yield
        finally:
            process.terminate()
            process.wait(30)

    def close(self) -> None:
        """End what is left of the sessions."""
        for agent in self.agents:
            agent.close()
        self.agents.clear()


@dataclass(frozen=True)
class TestRelease:
    """A release and the content of its files."""

    __test__ = False

    id: str
    envelope: Envelope
    content: Mapping[str, bytes]

    @classmethod
    def of(cls, content: Mapping[str, bytes], number: int, signer: Signer, changes: Mapping[str, Any]) -> TestRelease:
        """Describe and sign it; `changes` replace fields of the predicate."""
        files = tuple(File(path, 0o644, len(data), digest_bytes(data)) for path, data in sorted(content.items()))
        start = Start(("{python}", "-I", "-B", "{tree}/run.py"), {"GREETING": "in {tree}"})
        release = Release(SERVICE, f"{number}.0", number, files, start, None, None)
        release = msgspec.structs.replace(release, **changes)
        manifest = Manifest(STATEMENT_TYPE, (Subject(SERVICE, {"sha256": "0" * 64}),), PREDICATE_TYPE, release)
        return cls(manifest.id(), envelope(manifest, Purpose.RELEASE, signer), content)

    def announcement(self) -> bytes:
        """For `missing`."""
        return zlib.compress(msgspec.json.encode(self.envelope))

    def parcel(self, digests: Iterable[str]) -> bytes:
        """For `receive`."""
        by_digest = {digest_bytes(data): data for data in self.content.values()}
        return zlib.compress(b"".join(frame(by_digest[digest], digest) for digest in digests))


def frame(data: bytes, digest: str | None = None) -> bytes:
    """One blob as it travels."""
    return bytes.fromhex((digest or digest_bytes(data)).removeprefix("sha256:")) + len(data).to_bytes(8, "big") + data
