"""RTCCertificate (W3C WebRTC §4.9): the key a connection proves itself with."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from typing import Any, Final

import aiortc
from aiortc import RTCDtlsFingerprint
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from peer.exceptions import InvalidArgumentError, NotSupportedError

LIFETIME = datetime.timedelta(days=30)
LIFETIME_MAX = datetime.timedelta(days=365)
"""W3C: an implementation may cap `expires`, and all browsers cap it at a year."""

DTLS_1_2: Final = 0xFEFD
"""The least there may be (RFC 8827 §6.5)."""

# RFC 8827 §6.5, with the RSA suites for those who bring an RSA key.
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA"
)


class RTCCertificate(aiortc.RTCCertificate):
    """A self-signed certificate and its private key, made by `generateCertificate`."""

    @property
    def expired(self) -> bool:
        """Whether `expires` has passed."""
        return self.expires <= datetime.datetime.now(datetime.UTC)

    def getFingerprints(self) -> list[RTCDtlsFingerprint]:
        """By SHA-256, which everybody knows (RFC 8122 §5), in lower-case hexadecimal (W3C WebRTC §4.9.2)."""
        return [
            RTCDtlsFingerprint(each.algorithm, each.value.lower())
            for each in super().getFingerprints()
            if each.algorithm == "sha-256"
        ]

    @classmethod
    def of(cls, certificate: aiortc.RTCCertificate) -> RTCCertificate:
        """The same key and certificate, as one of ours."""
        if isinstance(certificate, cls):
            return certificate
        return cls(key=certificate._key, cert=certificate._cert)

    @classmethod
    def generateCertificate(cls, keygenAlgorithm: str | Mapping[str, Any] | None = None) -> RTCCertificate:
        """A new certificate: ECDSA on P-256 unless told otherwise.

        `keygenAlgorithm` is `"ECDSA"`, or a dictionary as in WebCrypto: `{"name": "ECDSA", "namedCurve": "P-256"}`
        or `{"name": "RSASSA-PKCS1-v1_5", "modulusLength": 2048, "publicExponent": 65537, "hash": "SHA-256"}`, either
        with `expires`, in milliseconds from now (default 30 days, at most a year).
        Raises `NotSupportedError` for other algorithms, `InvalidArgumentError` for values that cannot be right.
        """
        given: Mapping[str, Any]
        if keygenAlgorithm is None:
            given = {"name": "ECDSA", "namedCurve": "P-256"}
        elif isinstance(keygenAlgorithm, str):
            given = {"name": keygenAlgorithm, "namedCurve": "P-256"}
            if keygenAlgorithm.upper() != "ECDSA":
                raise NotSupportedError(f"{keygenAlgorithm!r} needs its parameters, given as a dictionary")
        elif isinstance(keygenAlgorithm, Mapping):
            given = keygenAlgorithm
        else:
            raise InvalidArgumentError(
                f"keygenAlgorithm must be a string or a dictionary, not {keygenAlgorithm!r:.100}"
            )
        lifetime = LIFETIME
        expires = given.get("expires")
        if expires is not None:
            if isinstance(expires, bool) or not isinstance(expires, (int, float)) or expires < 0:
                raise InvalidArgumentError(f"expires must be a number of milliseconds, not {expires!r:.100}")
            lifetime = min(LIFETIME_MAX, datetime.timedelta(milliseconds=min(expires, 1e12)))
        key = _generate_key(given)
        return cls(key=key, cert=_self_signed(key, lifetime))  # type: ignore[arg-type]

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(CIPHERS)
        context.set_min_proto_version(DTLS_1_2)
        return context


def _generate_key(given: Mapping[str, Any]) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    name = str(given.get("name", "")).upper()
    if name == "ECDSA":
        curve = given.get("namedCurve")
        if curve != "P-256":
            raise NotSupportedError(f"ECDSA keys are made on the curve 'P-256', not {curve!r:.50}")
        return ec.generate_private_key(ec.SECP256R1())
    if name == "RSASSA-PKCS1-V1_5":
        bits = given.get("modulusLength")
        exponent = given.get("publicExponent", 65537)
        if isinstance(exponent, (bytes, bytearray, list, tuple)):
            exponent = int.from_bytes(bytes(exponent), "big")
        digest = given.get("hash", "SHA-256")
        if isinstance(digest, Mapping):
            digest = digest.get("name")
        if str(digest).upper() != "SHA-256":
            raise NotSupportedError(f"certificates are signed with SHA-256, not {digest!r:.50}")
        if bits not in (1024, 2048, 3072, 4096) or exponent != 65537:
            raise NotSupportedError(
                "RSA keys have 2048, 3072 or 4096 bits (1024 in tests) and the exponent 65537"
            )
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    raise NotSupportedError(
        f"certificates are made with ECDSA or RSASSA-PKCS1-v1_5, not {given.get('name')!r:.50}"
    )


def _self_signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, lifetime: datetime.timedelta
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(16))])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A day back, for peers whose clock is behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + lifetime)
        .sign(key, hashes.SHA256())
    )
