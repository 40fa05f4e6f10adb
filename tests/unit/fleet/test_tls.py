"""The fleet's CA, checked with OpenSSL's own eyes."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.tlsguard import make_tls
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.base.errors import ConfigError, UsageError
from tradeops.fleet.tls import CA_DAYS, LEAF_DAYS, RENEW_DAYS, TlsFiles, create_ca, issue_guard, renewal_due

DAY_NS = 86400 * NS_PER_S
NOW_NS = SystemClock().wall_ns()


def openssl(*argv: object) -> str:
    done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls") / "tls", "host-1")


def test_openssl_accepts_the_chain_for_the_host_and_its_purpose_only(files: TlsFiles) -> None:
    """A guard's certificate serves, the operator's reads; neither can stand in for the other."""
    verify = ("verify", "-CAfile", files.ca, "-x509_strict")
    assert ": OK" in openssl(*verify, "-purpose", "sslserver", "-verify_hostname", "host-1", files.guard("host-1"))
    assert "ostname mismatch" in openssl(*verify, "-verify_hostname", "host-2", files.guard("host-1"))
    assert ": OK" in openssl(*verify, "-purpose", "sslclient", files.client)
    assert "certificate purpose" in openssl(*verify, "-purpose", "sslclient", files.guard("host-1"))
    assert "certificate purpose" in openssl(*verify, "-purpose", "sslserver", files.client)


def test_keys_are_for_their_owner_alone(files: TlsFiles) -> None:
    keys = [files.ca_key, files.client_key, files.guard_key("host-1")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in keys] == [0o600] * 3
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert "prime256v1" in openssl("pkey", "-in", files.ca_key, "-noout", "-text")


def test_a_second_ca_is_not_made_over_the_first(files: TlsFiles) -> None:
    before = files.ca.read_bytes()
    with pytest.raises(UsageError, match="has a CA already"):
        create_ca(files, "test-fleet", now_ns=NOW_NS)
    assert files.ca.read_bytes() == before


def test_renewal_is_due_before_the_end(files: TlsFiles, tmp_path: Path) -> None:
    certificate = files.guard("host-1")
    assert not renewal_due(certificate, now_ns=NOW_NS)
    assert not renewal_due(certificate, now_ns=NOW_NS + (LEAF_DAYS - RENEW_DAYS - 1) * DAY_NS)
    assert renewal_due(certificate, now_ns=NOW_NS + (LEAF_DAYS - RENEW_DAYS + 1) * DAY_NS)
    assert not renewal_due(files.ca, now_ns=NOW_NS + (CA_DAYS - RENEW_DAYS - 1) * DAY_NS)
    assert renewal_due(tmp_path / "absent.pem", now_ns=NOW_NS)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("ca.key", None, "cannot be read"),
        ("ca.key", b"no key", "not an unencrypted private key"),
        ("ca.pem", b"no certificate", "not a certificate"),
        ("ca.pem", b"x" * 100_000, "cannot be read"),
    ],
)
def test_a_damaged_ca_is_named(tmp_path: Path, name: str, content: bytes | None, what: str) -> None:
    files = make_tls(tmp_path / "tls")
    path = files.folder / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=what) as caught:
        issue_guard(files, "host-1", now_ns=NOW_NS)
    assert caught.value.where == str(path)


def test_a_key_of_another_kind_is_no_ca(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    openssl("genpkey", "-algorithm", "ed25519", "-out", files.ca_key)
    with pytest.raises(ConfigError, match="not an ECDSA key"):
        issue_guard(files, "host-1", now_ns=NOW_NS)
