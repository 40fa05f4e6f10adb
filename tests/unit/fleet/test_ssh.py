"""Every way an SSH connection can go wrong ends in time, with an error that says which host and what to do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.badssh import bad_ssh, silent_port
from tests.support.silentagent import silent_agent
from tests.support.sshd import Sshd, free_port, host, make_key, running_sshd
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.base.errors import ConfigError, HostKeyMismatch, OutcomeUnknown, Unreachable
from tradeops.contracts.publickey import fingerprint
from tradeops.fleet.channel import ChannelBroken
from tradeops.fleet.fleetfile import Deadlines
from tradeops.fleet.host import JumpHost
from tradeops.fleet.ssh import Ssh

LINE_MAX = 1 << 20
SHORT = Deadlines.model_validate(dict.fromkeys(("connect", "auth", "command", "silence", "control"), "500ms"))


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def ssh() -> Iterator[Ssh]:
    ssh = Ssh(deadlines=Deadlines())
    yield ssh
    ssh.close()


@pytest.fixture
def hasty() -> Iterator[Ssh]:
    ssh = Ssh(deadlines=SHORT)
    yield ssh
    ssh.close()


def seconds_since(start_ns: int) -> float:
    return (SystemClock().monotonic_ns() - start_ns) / NS_PER_S


def test_lines_and_bytes_go_both_ways(sshd: Sshd, ssh: Ssh) -> None:
    """A channel hands over what was written, and counts it."""
    channel = ssh.open_channel(sshd.host(), "cat", timeout_s=10)
    channel.write(b"one\ntwo\n", 5)
    assert channel.readline(5, bytes_max=LINE_MAX) == b"one"
    assert channel.readline(5, bytes_max=LINE_MAX) == b"two"
    assert channel.bytes_sent == 8
    channel.close()


def test_one_connection_serves_all_channels_of_a_host(sshd: Sshd, ssh: Ssh) -> None:
    """The second session has the same client port as the first."""
    ports = []
    for _ in range(2):
        channel = ssh.open_channel(sshd.host(), "echo $SSH_CONNECTION", timeout_s=10)
        ports.append(channel.readline(5, bytes_max=LINE_MAX))
        channel.close()
    assert ports[0] == ports[1]


def test_megabytes_pass_in_slices(sshd: Sshd, ssh: Ssh) -> None:
    """A large body arrives whole, more than one channel window of it."""
    channel = ssh.open_channel(sshd.host(), "head -c 8000000 | wc -c", timeout_s=10)
    channel.write(bytes(8_000_000), 5)
    assert channel.readline(20, bytes_max=LINE_MAX).strip() == b"8000000"
    channel.close()


def test_admin_command_is_quoted_and_its_status_told(sshd: Sshd, ssh: Ssh) -> None:
    """What stands in an argument is never run; stdin, stdout, stderr and the status are handed over."""
    finished = ssh.exec_admin(
        sshd.host(), ["sh", "-c", 'cat; echo "$1" >&2; exit 3', "sh", "$(touch /nowhere); 'x'"], stdin=b"in", timeout_s=10
    )
    assert (finished.exit_status, finished.stdout, finished.stderr) == (3, b"in", b"$(touch /nowhere); 'x'\n")


def test_a_command_killed_by_a_signal_has_no_status(sshd: Sshd, ssh: Ssh) -> None:
    """Unknown is not success, and not 0 either."""
    assert ssh.exec_admin(sshd.host(), ["sh", "-c", "kill -9 $$"], timeout_s=10).exit_status is None


def test_an_admin_command_that_does_not_end_is_left_in_time(sshd: Sshd, ssh: Ssh) -> None:
    """What it did by then is not known."""
    with pytest.raises(OutcomeUnknown, match=r"host-1.*silent for 0\.3 s"):
        ssh.exec_admin(sshd.host(), ["sleep", "60"], timeout_s=0.3)


def test_output_without_end_is_refused(sshd: Sshd, ssh: Ssh) -> None:
    with pytest.raises(OutcomeUnknown, match="wrote more than"):
        ssh.exec_admin(sshd.host(), ["yes"], timeout_s=20)


def test_a_line_without_end_is_refused(sshd: Sshd, ssh: Ssh) -> None:
    channel = ssh.open_channel(sshd.host(), "yes | tr -d '\\n'", timeout_s=10)
    with pytest.raises(ChannelBroken, match="longer than 1000 bytes"):
        channel.readline(10, bytes_max=1000)
    channel.close()


def test_a_complaint_without_end_stalls_nothing(sshd: Sshd, ssh: Ssh) -> None:
    """stderr is drained while lines are read, and its tail is kept."""
    channel = ssh.open_channel(sshd.host(), "head -c 6000000 /dev/zero >&2; echo last words >&2; echo done; read x", timeout_s=10)
    assert channel.readline(10, bytes_max=LINE_MAX) == b"done"
    assert until(lambda: channel.stderr_tail().endswith("last words"), 10)  # nothing orders the two streams
    channel.close()


def test_silence_ends_a_read(sshd: Sshd, ssh: Ssh) -> None:
    channel = ssh.open_channel(sshd.host(), "cat", timeout_s=10)
    with pytest.raises(ChannelBroken, match=r"silent for 0.2 s"):
        channel.readline(0.2, bytes_max=LINE_MAX)
    channel.close()


def test_a_reader_that_takes_nothing_ends_a_write(sshd: Sshd, ssh: Ssh) -> None:
    """The window fills up and the write gives up, instead of waiting for ever."""
    channel = ssh.open_channel(sshd.host(), "sleep 60", timeout_s=10)
    with pytest.raises(ChannelBroken, match=r"took no more data for 0\.3 s"):
        channel.write(bytes(64 << 20), 0.3)
    channel.close()


def test_a_frozen_server_ends_a_write(tmp_path: Path, ssh: Ssh) -> None:
    """A stopped sshd neither reads nor closes; paramiko's own write would wait for ever."""
    with running_sshd(tmp_path / "sshd") as server:
        channel = ssh.open_channel(server.host(), "echo $PPID; exec cat > /dev/null", timeout_s=10)
        session = int(channel.readline(5, bytes_max=LINE_MAX))
        os.kill(session, signal.SIGSTOP)
        start_ns = SystemClock().monotonic_ns()
        try:
            with pytest.raises(ChannelBroken):
                channel.write(bytes(64 << 20), 0.5)
            channel.close()
            assert seconds_since(start_ns) < 5
        finally:
            os.kill(session, signal.SIGCONT)


def test_a_stream_closed_by_the_host_is_told(sshd: Sshd, ssh: Ssh) -> None:
    channel = ssh.open_channel(sshd.host(), "echo partial | tr -d '\\n'", timeout_s=10)
    with pytest.raises(ChannelBroken, match="closed the stream"):
        channel.readline(5, bytes_max=LINE_MAX)
    assert channel.exit_status(5) == 0


def test_after_the_connection_died_a_new_one_is_made(tmp_path: Path, ssh: Ssh) -> None:
    with running_sshd(tmp_path / "sshd") as server:
        channel = ssh.open_channel(server.host(), "echo $PPID; read x", timeout_s=10)
        os.kill(int(channel.readline(5, bytes_max=LINE_MAX)), signal.SIGKILL)
        with pytest.raises(ChannelBroken):
            channel.readline(5, bytes_max=LINE_MAX)
        again = ssh.open_channel(server.host(), "echo back", timeout_s=10)
        assert again.readline(5, bytes_max=LINE_MAX) == b"back"
        again.close()


def test_refused_port(ssh: Ssh) -> None:
    with pytest.raises(Unreachable, match=r"host-1: SSH at 127.0.0.1:\d+: Connection refused"):
        ssh.open_channel(host(port=free_port()), "true", timeout_s=5)


def test_a_name_nobody_knows(ssh: Ssh) -> None:
    with pytest.raises(Unreachable, match=r"host-1: its name nowhere\.invalid"):
        ssh.open_channel(host(port=22, address="nowhere.invalid"), "true", timeout_s=5)


def test_accepts_and_never_speaks(hasty: Ssh) -> None:
    start_ns = SystemClock().monotonic_ns()
    with silent_port() as port, pytest.raises(Unreachable, match=r"accepted and did not answer with an SSH greeting within 0\.5 s"):
        hasty.open_channel(host(port=port, host_key=""), "true", timeout_s=5)
    assert seconds_since(start_ns) < 3


def test_hangs_in_the_login(hasty: Ssh, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    start_ns = SystemClock().monotonic_ns()
    with bad_ssh(manners="hangs in login") as server, pytest.raises(Unreachable, match="login"):
        hasty.open_channel(host(port=server.port, host_key=server.host_key, identity=tmp_path / "key"), "true", timeout_s=5)
    assert seconds_since(start_ns) < 4


def test_key_refused_names_the_keys_tried(ssh: Ssh, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with bad_ssh(manners="refuses") as server, pytest.raises(Unreachable, match=f"failed .*{tmp_path}/key") as caught:
        ssh.open_channel(host(port=server.port, host_key=server.host_key, identity=tmp_path / "key"), "true", timeout_s=5)
    assert "agent" in str(caught.value.next)


def test_changed_host_key_is_refused_with_both_fingerprints(sshd: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    pinned = make_key(tmp_path / "other")
    with pytest.raises(HostKeyMismatch) as caught:
        ssh.open_channel(sshd.host(host_key=pinned), "true", timeout_s=5)
    assert fingerprint(pinned) in str(caught.value)
    assert fingerprint(sshd.host_key) in str(caught.value)


def test_a_pinned_key_of_another_kind_is_refused_with_both_fingerprints(sshd: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    pinned = make_key(tmp_path / "other", "ecdsa")
    with pytest.raises(HostKeyMismatch) as caught:
        ssh.open_channel(sshd.host(host_key=pinned), "true", timeout_s=5)
    assert fingerprint(pinned) in str(caught.value)
    assert fingerprint(sshd.host_key) in str(caught.value)


def test_unknown_host_key_is_refused(sshd: Sshd, ssh: Ssh) -> None:
    with pytest.raises(HostKeyMismatch, match="is not known: none is pinned") as caught:
        ssh.open_channel(sshd.host(host_key=""), "true", timeout_s=5)
    assert fingerprint(sshd.host_key) in str(caught.value)
    assert "pin it" in str(caught.value.next)


def test_known_hosts_stands_in_for_a_pin(sshd: Sshd, tmp_path: Path) -> None:
    """Plain and hashed names; a changed key there is refused as well."""
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    ssh = Ssh(deadlines=Deadlines(), known_hosts=known)
    ssh.open_channel(sshd.host(host_key=""), "true", timeout_s=5).close()
    ssh.close()
    known.write_text(f"[127.0.0.1]:{sshd.port} {make_key(tmp_path / 'other')}\n")
    with pytest.raises(HostKeyMismatch):
        Ssh(deadlines=Deadlines(), known_hosts=known).open_channel(sshd.host(host_key=""), "true", timeout_s=5)


def test_damaged_known_hosts_do_not_close_the_road_to_pinned_hosts(sshd: Sshd, tmp_path: Path) -> None:
    """K04: they are read for a host without a pinned key alone, and then said to be damaged."""
    (tmp_path / "known_hosts").write_bytes(b"\xff\xfe nonsense")
    ssh = Ssh(deadlines=Deadlines(), known_hosts=tmp_path / "known_hosts")
    ssh.open_channel(sshd.host(), "true", timeout_s=5).close()
    with pytest.raises(ConfigError, match="known hosts cannot be read"):
        ssh.open_channel(sshd.host("host-2", host_key=""), "true", timeout_s=5)
    ssh.close()


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_encrypted_key_is_opened_by_its_passphrase(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    """Asked for once, however many sessions."""
    public = make_key(tmp_path / "key", kind, "open sesame")
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(public + "\n")
    asked: list[str] = []

    def ask(path: str) -> str:
        asked.append(path)
        return "open sesame"

    ssh = Ssh(deadlines=Deadlines(), ask_passphrase=ask)
    one = sshd.host(identity=tmp_path / "key")
    ssh.unlock([one])
    ssh.open_channel(one, "true", timeout_s=5).close()
    ssh.close()
    assert asked == [str(tmp_path / "key")]


def test_encrypted_key_without_a_terminal_is_an_error_not_a_prompt(sshd: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    make_key(tmp_path / "key", passphrase="open sesame")
    with pytest.raises(Unreachable, match="encrypted and there is no terminal") as caught:
        ssh.open_channel(sshd.host(identity=tmp_path / "key"), "true", timeout_s=5)
    assert "ssh-add" in str(caught.value.next)


def test_wrong_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "key", passphrase="open sesame")
    ssh = Ssh(deadlines=Deadlines(), ask_passphrase=lambda _path: "guess")
    with pytest.raises(Unreachable, match="does not open the key"):
        ssh.unlock([sshd.host(identity=tmp_path / "key")])


def test_files_that_are_no_key(sshd: Sshd, ssh: Ssh, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not a key")
    with pytest.raises(Unreachable, match="holds no private key"):
        ssh.unlock([sshd.host(identity=tmp_path / "key")])
    with pytest.raises(Unreachable, match="cannot be read"):
        ssh.unlock([sshd.host(identity=tmp_path / "absent")])


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real ssh-agent of the test's own."""
    sock = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    before = os.environ.get("SSH_AUTH_SOCK")
    os.environ["SSH_AUTH_SOCK"] = str(sock)
    try:
        until(sock.exists, 5)
        yield dict(os.environ)
    finally:
        os.environ.pop("SSH_AUTH_SOCK")
        if before is not None:
            os.environ["SSH_AUTH_SOCK"] = before
        process.terminate()
        process.wait(5)


def test_the_agent_signs_for_an_encrypted_key(sshd: Sshd, ssh: Ssh, tmp_path: Path, ssh_agent: dict[str, str]) -> None:
    """With the key named, and with none named: in neither case is a passphrase needed."""
    subprocess.run(["ssh-add", "-q", str(sshd.client_key)], env=ssh_agent, check=True)
    ssh.open_channel(sshd.host(), "true", timeout_s=5).close()
    other = Ssh(deadlines=Deadlines())
    other.open_channel(sshd.host(identity=None), "true", timeout_s=5).close()
    other.close()


@pytest.mark.parametrize("identity", ["plain", "encrypted", "none"])
def test_a_hung_agent_holds_up_nobody(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str) -> None:
    """K04: it accepts and is silent: never asked for a plain key, and given up for others."""
    monkeypatch.setattr("tradeops.fleet.keyring._AGENT_S", 0.2 if identity != "plain" else 3600.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    make_key(tmp_path / "locked", passphrase="words")
    named = {"plain": sshd.client_key, "encrypted": tmp_path / "locked", "none": None}[identity]
    host = sshd.host(identity=named)
    ssh = Ssh(deadlines=Deadlines())
    with silent_agent(tmp_path, monkeypatch):
        if identity == "plain":
            ssh.unlock([host])
            ssh.open_channel(host, "true", timeout_s=10).close()
        else:
            with pytest.raises(Unreachable, match="no terminal" if identity == "encrypted" else "no key to try"):
                ssh.open_channel(host, "true", timeout_s=10)
    ssh.close()


def test_through_a_jump_host(sshd: Sshd, tmp_path: Path) -> None:
    """The session and a port forward go through one connection to the jump host, whose key is checked as well."""
    with running_sshd(tmp_path / "jump") as jump:
        hop = JumpHost("bastion", "127.0.0.1", jump.port, None, jump.host_key, str(jump.client_key))
        ssh = Ssh(deadlines=Deadlines(), jumps={"bastion": hop})
        behind = sshd.host(jump="bastion")
        channel = ssh.open_channel(behind, "echo reached", timeout_s=10)
        assert channel.readline(5, bytes_max=LINE_MAX) == b"reached"
        tunnel = ssh.tunnel(behind, sshd.port, timeout_s=5)
        tunnel.settimeout(5)
        assert tunnel.recv(4) == b"SSH-"
        with pytest.raises(Unreachable, match="the jump host bastion does not reach"):
            ssh.tunnel(behind, free_port(), timeout_s=5)
        ssh.close()
        wrong = JumpHost("bastion", "127.0.0.1", jump.port, None, sshd.host_key, str(jump.client_key))
        with pytest.raises(HostKeyMismatch, match="jump host bastion"):
            Ssh(deadlines=Deadlines(), jumps={"bastion": wrong}).open_channel(behind, "true", timeout_s=5)


def test_a_jump_host_nobody_declared(sshd: Sshd, ssh: Ssh) -> None:
    with pytest.raises(ConfigError, match="not in the fleet file"):
        ssh.open_channel(sshd.host(jump="nowhere"), "true", timeout_s=5)
    with pytest.raises(ConfigError, match="no jump host"):
        ssh.tunnel(sshd.host(), 1, timeout_s=5)


def test_hangs_after_the_login(hasty: Ssh, tmp_path: Path) -> None:
    """A server that never answers the request for a session: paramiko alone would wait for an hour."""
    make_key(tmp_path / "key")
    with bad_ssh(manners="never starts") as server, pytest.raises(Unreachable, match=r"host-1: the session did not start within 0\.5 s"):
        hasty.open_channel(host(port=server.port, host_key=server.host_key, identity=tmp_path / "key"), "x", timeout_s=5)


def test_no_time_is_left_after_the_connection(tmp_path: Path) -> None:
    """The caller's own limit counts as well, not only the deadlines of the fleet file."""
    make_key(tmp_path / "key")
    ssh = Ssh(deadlines=Deadlines())
    with bad_ssh(manners="never starts") as server, pytest.raises(Unreachable, match=r"did not start within 0\.\d+ s"):
        ssh.open_channel(host(port=server.port, host_key=server.host_key, identity=tmp_path / "key"), "x", timeout_s=0.9)


def test_a_server_that_drops_the_connection_in_mid_stream(ssh: Ssh, tmp_path: Path) -> None:
    make_key(tmp_path / "key")

    async def drops(process: Any) -> None:
        process.stdout.write(b"half a li")
        process.channel.get_connection().abort()

    with bad_ssh(drops) as server:
        channel = ssh.open_channel(host(port=server.port, host_key=server.host_key, identity=tmp_path / "key"), "x", timeout_s=5)
        with pytest.raises(ChannelBroken):
            channel.readline(5, bytes_max=LINE_MAX)
        assert channel.exit_status(1) is None
