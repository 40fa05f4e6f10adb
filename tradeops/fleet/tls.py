"""The fleet's own small CA: ECDSA P-256, one certificate per guard (its host's name), one for the operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tradeops.base.clock import NS_PER_S
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import ConfigError, TradeopsError, UsageError

CA_DAYS = 3650
LEAF_DAYS = 398
RENEW_DAYS = 60
"""A certificate is due this long before it ends; a kill takes an ended one all the same."""
_BACKDATE = timedelta(hours=24)
"""Hosts' clocks differ."""
_PEM_BYTES_MAX = 64 << 10


@dataclass(frozen=True)
class TlsFiles:
    """Paths of the CA's and the operator's files, as contracts.layout.OperatorLayout.tls has them."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate: goes to every host."""
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The CA's key: never leaves this machine."""
        return self.folder / "ca.key"

    @property
    def client(self) -> Path:
        """The operator's certificate, for reading."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """Its key."""
        return self.folder / "client.key"

    def guard(self, host: str) -> Path:
        """The certificate of a host's guard."""
        return self.folder / "hosts" / f"{host}.pem"

    def guard_key(self, host: str) -> Path:
        """Its key."""
        return self.folder / "hosts" / f"{host}.key"


def create_ca(files: TlsFiles, fleet: str, *, now_ns: int) -> None:
    """Make the CA. Raises UsageError when there is one: all hosts would have to be enrolled again."""
    if files.ca_key.exists() or files.ca.exists():
        raise UsageError("the fleet has a CA already", where=str(files.folder))
    (files.folder / "hosts").mkdir(mode=0o700, parents=True, exist_ok=True)
    files.folder.chmod(0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"tradeops {fleet} CA")
    builder = _builder(name, name, key.public_key(), now_ns, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(ca=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _store_key(files.ca_key, key)
    _store(files.ca, builder.sign(key, hashes.SHA256()))


def issue_guard(files: TlsFiles, host: str, *, now_ns: int) -> None:
    """A new key and certificate for the guard of `host`, naming it as DNS host. Raises ConfigError: no whole CA here."""
    san = x509.SubjectAlternativeName([x509.DNSName(host)])
    # The guard also speaks as a client of nobody: one usage, so that a stolen host key cannot read other hosts.
    _issue(files, host, ExtendedKeyUsageOID.SERVER_AUTH, files.guard(host), files.guard_key(host), now_ns, san)


def issue_client(files: TlsFiles, person: str, *, now_ns: int) -> None:
    """A new key and certificate for reading from guards. Raises ConfigError: no whole CA here."""
    _issue(files, person, ExtendedKeyUsageOID.CLIENT_AUTH, files.client, files.client_key, now_ns, None)


def renewal_due(certificate: Path, *, now_ns: int) -> bool:
    """Whether a certificate ends within RENEW_DAYS, has ended, or is not there. Raises ConfigError for a broken one."""
    if not certificate.exists():
        return True
    return _load(certificate).not_valid_after_utc <= _moment(now_ns) + timedelta(days=RENEW_DAYS)


def _issue(
    files: TlsFiles,
    subject: str,
    usage: x509.ObjectIdentifier,
    path: Path,
    key_path: Path,
    now_ns: int,
    san: x509.SubjectAlternativeName | None,
) -> None:
    ca, ca_key = _load(files.ca), _load_key(files.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(subject), ca.subject, key.public_key(), now_ns, LEAF_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    if san is not None:
        builder = builder.add_extension(san, critical=False)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _store_key(key_path, key)
    _store(path, builder.sign(ca_key, hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now_ns: int, days: int) -> x509.CertificateBuilder:
    now = _moment(now_ns)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATE).not_valid_after(now + timedelta(days=days))


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _moment(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns // NS_PER_S, UTC)


def _store(path: Path, certificate: x509.Certificate) -> None:
    write_atomic(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _store_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    plain = serialization.NoEncryption()
    write_atomic(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain), mode=0o600)


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise ConfigError(f"not a certificate: {error}", where=str(path)) from None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise ConfigError("not an unencrypted private key", where=str(path)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("not an ECDSA key", where=str(path))
    return key


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, _PEM_BYTES_MAX)
    except (OSError, TradeopsError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path), next="`tradeops init` makes the fleet's CA") from None
