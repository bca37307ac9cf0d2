"""Certificates of a federation's server and keys of its clients.

A folder of a federation holds:

server/ca.pem server/server.pem server/server.key   for the machine of the server
clients/NAME.pub                                    public keys of the clients that may take part
keys/NAME/NAME.key keys/NAME/ca.pem                 for the machine of the client NAME
"""

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kinestore.store import UsageError
from kinestore.store.io.atomic import written_whole

CLIENT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""Lower-case letters, digits and hyphens, as host names have them."""

_MOST_KEY_BYTES = 1 << 16
_MOST_CLIENTS = 1000


@dataclass(frozen=True, kw_only=True)
class ServerCertificates:
    """Files of the server.

    Attributes:
        authority: Certificate that clients trust.
        certificate: Of the server's names and addresses.
        key: Its private key.
    """

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "ServerCertificates":
        """Return the files of a federation's folder.

        Raises:
            UsageError: If one is missing.
        """
        own = folder / "server"
        found = cls(
            authority=own / "ca.pem", certificate=own / "server.pem", key=own / "server.key"
        )
        for path in (found.authority, found.certificate, found.key):
            if not path.is_file():
                raise UsageError(
                    f"certificates={folder}: {path.relative_to(folder)} is missing; make it by "
                    "`kinestore federation certificates`"
                )
        return found


def make_certificates(
    folder: Path, *, hosts: Sequence[str], clients: Sequence[str], days: int = 365
) -> list[Path]:
    """Make certificates of the server where there are none, and a key for each new client.

    Private keys can be read by their owner alone.

    Args:
        folder: New, or an earlier federation's, whose files stay as they are.
        hosts: Names or addresses by which clients reach the server; needed the first time.
        clients: Names of clients.
        days: Validity of the certificates, 1 or more.

    Returns:
        The files that were written.

    Raises:
        UsageError: If a name cannot be used, or there is nothing to do.
    """
    for name in clients:
        if not CLIENT_NAME.fullmatch(name):
            raise UsageError(
                f"client={name!r}: must have 1 to 40 lower-case letters, digits and hyphens"
            )
        if (folder / "clients" / f"{name}.pub").exists():
            raise UsageError(
                f"client={name!r}: has a key in {folder} already; remove clients/{name}.pub first "
                "if it is to have another"
            )
    if len(set(clients)) < len(clients):
        raise UsageError(f"clients={', '.join(clients)}: one is named twice")
    if days < 1:
        raise UsageError(f"days={days}: must be 1 or more")
    made = []
    if not (folder / "server" / "server.pem").exists():
        if not hosts:
            raise UsageError(
                "host: name the addresses by which clients reach the server, as with "
                "host=server.example.org"
            )
        made += _make_server(folder / "server", hosts, days=days)
    elif hosts:
        raise UsageError(
            f"host={hosts[0]!r}: {folder} has a certificate already; remove its folder server/ "
            "first, and give all clients the new ca.pem"
        )
    for name in clients:
        made += _make_client(folder, name)
    if not made:
        raise UsageError(f"clients: {folder} has a server's certificate; name clients to add")
    return made


def registered_keys(folder: Path) -> dict[str, bytes]:
    """Return the public keys of the clients that may take part, by name, as Flower takes them.

    Raises:
        UsageError: If there is none, or a file is no public key of the curve P-384.
    """
    paths = sorted((folder / "clients").glob("*.pub"))
    if not paths:
        raise UsageError(f"certificates={folder}: clients/ holds no key; no client could take part")
    if len(paths) > _MOST_CLIENTS:
        raise UsageError(f"certificates={folder}: clients/ holds more than {_MOST_CLIENTS} keys")
    keys = {path.stem: _read_public_key(path) for path in paths}
    if len(set(keys.values())) < len(keys):
        raise UsageError(f"certificates={folder}: two clients have the same key")
    return keys


def check_private_key(path: Path) -> None:
    """Raise UsageError if a file is no private key that Flower takes."""
    try:
        key = serialization.load_ssh_private_key(_read(path), password=None)
        fits = isinstance(key, ec.EllipticCurvePrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        fits = False
    if not fits:
        raise UsageError(
            f"key={path}: is no private key of a client; take the file that `kinestore federation "
            "certificates` made, such as keys/NAME/NAME.key"
        )


def _make_server(folder: Path, hosts: Sequence[str], *, days: int) -> list[Path]:
    authority_key, server_key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    issuer = _named("Kinestore federation")
    authority = (
        _certificate(issuer, issuer, authority_key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA384())
    )
    certificate = (
        _certificate(_named(hosts[0]), issuer, server_key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName(_alternatives([*hosts, "localhost", "127.0.0.1"])),
            critical=False,
        )
        .sign(authority_key, hashes.SHA384())
    )
    key = server_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return [
        _write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM)),
        _write(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM)),
        _write(folder / "server.key", key, secret=True),
    ]


def _make_client(folder: Path, name: str) -> list[Path]:
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    own = folder / "keys" / name
    return [
        _write(own / f"{name}.key", private, secret=True),
        _write(own / "ca.pem", (folder / "server" / "ca.pem").read_bytes()),
        _write(folder / "clients" / f"{name}.pub", public + b"\n"),
    ]


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days, hours=1))
    )


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(hosts: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            try:
                found.append(x509.DNSName(host))
            except ValueError:
                raise UsageError(f"host={host!r}: must be a name or an address in ASCII") from None
    return found


def _read(path: Path) -> bytes:
    if not path.is_file() or path.stat().st_size > _MOST_KEY_BYTES:
        raise UsageError(f"{path}: is no file of a key")
    return path.read_bytes()


def _read_public_key(path: Path) -> bytes:
    try:
        key = serialization.load_ssh_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(
            f"{path}: is no public key of a client; take the file that `kinestore federation "
            "certificates` made"
        )
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(path: Path, content: bytes, *, secret: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not secret:
        with written_whole(path) as unfinished:
            unfinished.write_bytes(content)
        return path
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path
