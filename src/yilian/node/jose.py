"""JWTs of this floor: one algorithm, and a parse that says no instead of raising what a library raises.

Source   RFC 7519, RFC 8037 (EdDSA with Ed25519; the name SMART Backend Services and UDAP know, so RFC 9864's new one is not used).
"""

from __future__ import annotations

import base64
import binascii
import warnings
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey

from yilian.base.keys import SigningKey

warnings.filterwarnings("ignore", message="EdDSA is deprecated via RFC 9864", category=SecurityWarning)
ALGORITHMS: Final = ["EdDSA"]
TOKEN_SIZE_BYTES_MAX: Final = 8_192


class NotAToken(ValueError):
    """The text is no JWT of ours: its form, its algorithm or its signature."""


def to_text(data: bytes) -> str:
    """Return base64url without padding, RFC 7515 section 2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """Return what `to_text` wrote.

    Raises   NotAToken
    """
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise NotAToken("not base64url") from error


def jwk_of(public_key: bytes) -> dict[str, Any]:
    """Return the public key as a JWK, RFC 8037."""
    return {"kty": "OKP", "crv": "Ed25519", "x": to_text(public_key)}


def public_key_of(jwk: object) -> bytes:
    """Return the key of an Ed25519 JWK.

    Raises   NotAToken
    """
    if (
        not isinstance(jwk, dict)
        or jwk.get("kty") != "OKP"
        or jwk.get("crv") != "Ed25519"
        or not isinstance(jwk.get("x"), str)
        or "d" in jwk
    ):
        raise NotAToken("not an Ed25519 public key")
    return from_text(jwk["x"])


def thumbprint(public_key: bytes) -> str:
    """Return the key's RFC 7638 thumbprint."""
    return str(OKPKey.import_key(jwk_of(public_key)).thumbprint())


def signed(key: SigningKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return the JWT."""
    pair = OKPKey.import_key({**jwk_of(key.public_key), "d": to_text(key.seed)})
    return str(jwt.encode({"alg": "EdDSA", **header}, claims, pair, algorithms=ALGORITHMS))


def header_of(token: str) -> dict[str, Any]:
    """Return the header of a JWT whose signature has not been checked yet.

    Raises   NotAToken
    """
    if len(token) > TOKEN_SIZE_BYTES_MAX or token.count(".") != 2:  # noqa: PLR2004 - header, claims, signature
        raise NotAToken("not a JWT")
    try:
        header = orjson.loads(from_text(token.split(".", 1)[0]))
    except orjson.JSONDecodeError as error:
        raise NotAToken("not a JWT") from error
    if not isinstance(header, dict) or header.get("alg") not in ALGORITHMS or "crit" in header:
        raise NotAToken("not our algorithm")
    return header


def verified(token: str, public_key: bytes) -> dict[str, Any]:
    """Return the claims of a JWT that the key signed.

    Raises   NotAToken
    """
    try:
        return dict(jwt.decode(token, OKPKey.import_key(jwk_of(public_key)), algorithms=ALGORITHMS).claims)
    except (JoseError, ValueError, TypeError, KeyError, UnicodeError) as error:
        raise NotAToken("not signed by that key") from error
