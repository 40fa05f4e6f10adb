"""People's keys sign through the real ssh-keygen: files, agents, CI's variable. No secret in arguments or left on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.silentagent import silent_agent
from tradeops.base.errors import SignatureInvalid, TradeopsError, UsageError
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.signature import fingerprint, normalise, verify
from tradeops.release.sign import CI_KEY_VARIABLE, AgentSigner, FileSigner, MemorySigner, signer_for

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
MESSAGE = b"a manifest"


def new_key(folder: Path, name: str = "key", passphrase: str = "", kind: str = "ed25519") -> Path:
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *(("-b", "2048") if kind == "rsa" else ()), "-N", passphrase, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    return path


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **more}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real ssh-agent of our own."""
    ran = subprocess.run(["ssh-agent", "-s", "-a", str(tmp_path / "agent.sock")], capture_output=True, text=True, check=True, timeout=30)
    pid = re.search(r"SSH_AGENT_PID=(\d+)", ran.stdout)
    assert pid
    try:
        yield environ(tmp_path, SSH_AUTH_SOCK=str(tmp_path / "agent.sock"))
    finally:
        os.kill(int(pid[1]), 15)


def load(env: dict[str, str], key: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True, stdin=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_key_file_signs(tmp_path: Path, kind: str) -> None:
    """The signature is the file's key's, with and without its .pub beside it."""
    path = new_key(tmp_path, kind=kind)
    public = path.with_suffix(".pub").read_text()
    signer = signer_for(str(path), environ=environ(tmp_path))
    assert verify(signer.sign(MESSAGE, Purpose.RELEASE), MESSAGE, Purpose.RELEASE) == signer.public_line == normalise(public)
    path.with_suffix(".pub").unlink()
    assert FileSigner(path, environ(tmp_path)).public_line == signer.public_line


def test_an_agents_key_signs_though_its_file_is_encrypted(tmp_path: Path, agent: dict[str, str]) -> None:
    """By its public file, by its fingerprint, or because the policy knows it."""
    path = new_key(tmp_path)
    load(agent, path)
    path.unlink()
    public = normalise(path.with_suffix(".pub").read_text())
    for signer in (
        signer_for(str(path.with_suffix(".pub")), environ=agent),
        signer_for(fingerprint(public), environ=agent),
        signer_for(None, known=[public], environ=agent),
    ):
        assert verify(signer.sign(MESSAGE, Purpose.DIRECTIVE), MESSAGE, Purpose.DIRECTIVE) == public
    with pytest.raises(UsageError, match="agent holds no key"):
        signer_for("SHA256:unknown", environ=agent)


def test_an_agent_that_lost_its_key_is_an_error(tmp_path: Path, agent: dict[str, str]) -> None:
    """A05: no signature, no release; nothing pretends."""
    path = new_key(tmp_path)
    signer = AgentSigner(path.with_suffix(".pub").read_text(), agent)
    with pytest.raises(TradeopsError, match="could not use the key"):
        signer.sign(MESSAGE, Purpose.RELEASE)


def test_ci_signs_with_a_key_from_the_environment(tmp_path: Path) -> None:
    """The key goes through memory: not in arguments, not in the child's environment, not on disk."""
    path = new_key(tmp_path)
    text, public = path.read_text(), normalise(path.with_suffix(".pub").read_text())
    path.unlink()
    path.with_suffix(".pub").unlink()
    log = tmp_path / "log"
    spy = tmp_path / "bin" / "ssh-keygen"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\n(echo "$@"; env) >> {log}\nexec {shutil.which("ssh-keygen")} "$@"\n')
    spy.chmod(0o755)
    env = environ(tmp_path, **{CI_KEY_VARIABLE: text, "PATH": f"{spy.parent}:{os.environ['PATH']}"})
    signer = signer_for(None, environ=env)
    assert signer.public_line == public
    assert verify(signer.sign(MESSAGE, Purpose.RELEASE), MESSAGE, Purpose.RELEASE) == public
    assert "-Y sign" in log.read_text()
    assert text.splitlines()[1] not in log.read_text()
    assert CI_KEY_VARIABLE not in log.read_text()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_ci_key_in_pem_signs_too(tmp_path: Path, kind: str) -> None:
    """As many a secret store holds it."""
    path = new_key(tmp_path, kind=kind)
    public = normalise(path.with_suffix(".pub").read_text())
    subprocess.run(["ssh-keygen", "-q", "-p", "-m", "PEM", "-N", "", "-f", str(path)], check=True, timeout=60)
    text = path.read_text()
    assert "OPENSSH" not in text
    assert verify(MemorySigner(text, environ(tmp_path)).sign(MESSAGE, Purpose.RELEASE), MESSAGE, Purpose.RELEASE) == public


def test_a_bad_ci_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    """Junk, or a key with a passphrase: an error that does not repeat the secret."""
    encrypted = new_key(tmp_path, passphrase="correct horse").read_text()
    for text in ("junk-secret", encrypted):
        with pytest.raises(UsageError) as caught:
            MemorySigner(text, environ(tmp_path))
        assert text.splitlines()[-1] not in str(caught.value)


def test_the_key_that_the_policy_knows_is_found(tmp_path: Path) -> None:
    """Of the usual files the first that is known; none known: what to do is said."""
    (tmp_path / ".ssh").mkdir()
    new_key(tmp_path / ".ssh", "id_ecdsa", kind="ecdsa")
    known = new_key(tmp_path / ".ssh", "id_ed25519")
    line = normalise(known.with_suffix(".pub").read_text())
    assert signer_for(None, known=[line], environ=environ(tmp_path)).public_line == line
    with pytest.raises(UsageError, match="none of your SSH keys") as caught:
        signer_for(None, environ=environ(tmp_path))
    assert CI_KEY_VARIABLE in str(caught.value.next)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """No file, an encrypted one with nobody to ask, a .pub of another key, no ssh-keygen at all."""
    env = environ(tmp_path, SSH_ASKPASS_REQUIRE="force", SSH_ASKPASS="/bin/false", DISPLAY=":none")
    with pytest.raises(UsageError, match="no such key"):
        signer_for(str(tmp_path / "missing"), environ=env)
    encrypted = new_key(tmp_path, "encrypted", passphrase="correct horse")
    with pytest.raises(UsageError, match="the key is locked") as locked:
        FileSigner(encrypted, env).sign(MESSAGE, Purpose.RELEASE)
    assert "ssh-add" in str(locked.value.next)
    one, two = new_key(tmp_path, "one"), new_key(tmp_path, "two")
    shutil.copy(two.with_suffix(".pub"), one.with_suffix(".pub"))
    with pytest.raises(TradeopsError):
        FileSigner(one, env).sign(MESSAGE, Purpose.RELEASE)
    with pytest.raises(UsageError, match="not installed"):
        FileSigner(two, {"PATH": str(tmp_path)}).sign(MESSAGE, Purpose.RELEASE)


def test_a_lying_ssh_keygen_is_found(tmp_path: Path) -> None:
    """A05: what comes back is verified: a signature by another key, over another message, or none."""
    one, two = new_key(tmp_path, "one"), new_key(tmp_path, "two")
    liar = tmp_path / "bin" / "ssh-keygen"
    liar.parent.mkdir()
    env = environ(tmp_path, PATH=f"{liar.parent}:{os.environ['PATH']}")
    real = shutil.which("ssh-keygen")
    for body in (
        f"exec {real} -q -Y sign -f {two} -n {Purpose.RELEASE}",
        f"echo x | exec {real} -q -Y sign -f {one} -n {Purpose.RELEASE}",
        "echo ok",
    ):
        liar.write_text(f"#!/bin/sh\n{body}\n")
        liar.chmod(0o755)
        with pytest.raises(SignatureInvalid):
            FileSigner(one, env).sign(MESSAGE, Purpose.RELEASE)


@pytest.mark.parametrize("kind", ["ed25519", "rsa-pem"])
def test_a_hung_agent_is_not_asked_for_a_plain_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """K04: a file without a passphrase, and CI's key, sign at once beside an agent that accepts and is silent."""
    path = new_key(tmp_path, kind=kind.partition("-")[0])
    if kind == "rsa-pem":
        subprocess.run(["ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f", str(path)], check=True, timeout=30)
    with silent_agent(tmp_path, monkeypatch) as env:
        monkeypatch.setattr("tradeops.release.sign._AGENT_S", 0.0)  # asked, it would count as silent; signing would still wait for it
        monkeypatch.setattr("tradeops.release.sign._SIGN_S", 10)
        signers = [signer_for(str(path), environ=env), signer_for(str(path.with_suffix(".pub")), environ=env)]
        if kind == "ed25519":  # ssh-keygen takes only its own format from a descriptor
            signers.append(signer_for(None, environ=env | {CI_KEY_VARIABLE: path.read_text()}))
        for signer in signers:
            assert verify(signer.sign(MESSAGE, Purpose.DIRECTIVE), MESSAGE, Purpose.DIRECTIVE) == signer.public_line


def test_a_hung_agent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """K04: an encrypted key is an error within seconds, and the person's other key is found."""
    locked, plain = new_key(tmp_path, "locked", passphrase="words"), new_key(tmp_path, "plain")
    folder = tmp_path / ".ssh"
    folder.mkdir()
    for name in ("plain", "plain.pub"):
        shutil.copy(tmp_path / name, folder / name.replace("plain", "id_ed25519"))
    with silent_agent(tmp_path, monkeypatch) as env:
        monkeypatch.setattr("tradeops.release.sign._AGENT_S", 0.2)
        env |= {"HOME": str(tmp_path), "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
        with pytest.raises(TradeopsError, match="could not use the key"):
            signer_for(str(locked), environ=env).sign(MESSAGE, Purpose.DIRECTIVE)
        with pytest.raises(UsageError, match="agent holds no key"):
            signer_for("SHA256:unknown", environ=env)
        known = normalise(plain.with_suffix(".pub").read_text())
        assert signer_for(None, known=[known], environ=env).public_line == known
