"""A certificate for one run of the server: nobody vouches for it, so a browser asks before it goes on.

Browsers give a page the camera only over https or on the computer itself. The key lives as long as the run: it is
written to a file that only its owner reads, loaded, and deleted.
"""

import contextlib
import datetime
import ipaddress
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowzoo.base.errors import LowzooError


def require_certificates() -> None:
    """Refuse to begin where the package that makes certificates is missing."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise LowzooError(
            "--https needs the package cryptography", "Run: pip install 'lowzoo[demo]', or name --certificate PEM"
        ) from error


@contextlib.contextmanager
def certificate_for(address: str, minutes: float) -> Iterator[tuple[Path, str]]:
    """Give a PEM file with a fresh certificate and its key, and the certificate's SHA-256 as browsers show it.

    Args:
        address: IP address that the page is served on.
        minutes: How long the certificate holds, beside an hour for clocks that differ.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lowzoo demo, this run only")])
    now, hour = datetime.datetime.now(datetime.UTC), datetime.timedelta(hours=1)
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour + datetime.timedelta(minutes=minutes))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    print_ = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    # A folder of its own is its owner's alone, and so is what lies in it.
    with tempfile.TemporaryDirectory(prefix="lowzoo-demo-") as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        yield path, print_
