"""Make the Ed25519 edge cases on which verifiers disagree: src/yilian/base/edge_cases.py and vectors/ed25519.json.

Each case is built from the curve's own arithmetic, so that it holds under one reading of the standard and not under another; the verdict
written beside it is libsodium's, which is the network's (design 02). `--check` only compares.
Source   RFC 8032; Chalkias, Garillot, Nikolaenko, "Taming the Many EdDSAs", 2020, section 5 (the kinds of cases, not their numbers).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from yilian.base.keys import is_signed

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = Path(__file__).parent.parent
Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """Return a + b on the twisted Edwards curve."""
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + t, P - 2, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, P - 2, P) % P


def times(n: int, a: Point) -> Point:
    """Return n * a."""
    result = (0, 1)
    while n:
        if n & 1:
            result = add(result, a)
        a, n = add(a, a), n >> 1
    return result


def from_y(y: int, sign: int) -> Point | None:
    """Return the point with this y and sign of x, if there is one."""
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P:
        return None
    return (P - x if x & 1 != sign else x), y


def encoded(a: Point, *, y_plus_p: bool = False) -> bytes:
    """Return the 32-byte encoding; `y_plus_p` writes y non-canonically."""
    return (a[1] + (P if y_plus_p else 0) | (a[0] & 1) << 255).to_bytes(32, "little")


def of_order_8() -> Point:
    """Return a point of order 8: a curve point times the prime order."""
    for y in range(2, 1000):
        point = from_y(y, 0)
        if point and times(4, torsion := times(L, point)) != (0, 1):
            return torsion
    raise ValueError("no such point")


BASE = from_y(4 * pow(5, P - 2, P) % P, 0) or (0, 0)
SECRET, NONCE = 0x5EED * 8 + 5, 0xA0A0 * 8 + 3  # any scalars will do


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    """Return k of RFC 8032 section 5.1.7."""
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def signed(name: str, key: bytes, r: bytes, message: bytes, secret: int, nonce: int, more: int = 0) -> dict[str, str | bool]:
    """Return a case whose S is made for (secret, nonce), plus `more`."""
    s = (nonce + challenge(r, key, message) * secret) % L + more
    signature = r + s.to_bytes(32, "little")
    verdict = is_signed(key, message, signature)
    return {"name": name, "public_key": key.hex(), "message": message.hex(), "signature": signature.hex(), "is_signed": verdict}


def cases() -> list[dict[str, str | bool]]:
    """Return all cases."""
    torsion, message = of_order_8(), b"yilian"
    key, r = encoded(times(SECRET, BASE)), encoded(times(NONCE, BASE))
    mixed_key = encoded(add(times(SECRET, BASE), torsion))
    mixed_r = encoded(add(times(NONCE, BASE), torsion))
    numbered = [b"yilian %d" % n for n in range(64)]
    seen = next(m for m in numbered if challenge(r, mixed_key, m) % 8)
    unseen = next(m for m in numbered if not challenge(r, mixed_key, m) % 8)
    identity = encoded((0, 1))
    return [
        signed("an ordinary signature", key, r, message, SECRET, NONCE),
        signed("S + L: the same scalar, written longer", key, r, message, SECRET, NONCE, L),
        signed("key with a small-order part, seen by the cofactorless check", mixed_key, r, seen, SECRET, NONCE),
        signed("key with a small-order part, not seen by it", mixed_key, r, unseen, SECRET, NONCE),
        signed("R with a small-order part", key, mixed_r, message, SECRET, NONCE),
        signed("key of order 8", encoded(torsion), encoded((0, 1)), message, 0, 0),
        signed("key is the identity", identity, r, message, 0, NONCE),
        signed("R is the identity", key, identity, message, SECRET, 0),
        signed("R is the identity, written with y + p", key, encoded((0, 1), y_plus_p=True), message, SECRET, 0),
        signed("key is the identity, written with y + p", encoded((0, 1), y_plus_p=True), r, message, 0, NONCE),
        signed("another message's signature", key, r, message, SECRET, NONCE + 1),
    ]


_HEAD = '"""Ed25519 edge cases and the network\'s verdict on each; made by tools/edge_vectors.py."""\n\n# fmt: off\n'


def _row(case: dict[str, str | bool]) -> str:
    key, message, signature = str(case["public_key"]), str(case["message"]), str(case["signature"])
    halves = f'        "{signature[:64]}"\n        "{signature[64:]}",\n'
    return f'    (\n        "{key}",\n        "{message}",\n{halves}        {case["is_signed"]},\n    ),  # {case["name"]}\n'


def main() -> int:
    """Write, or with --check compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the files are as they should be")
    only_check = parser.parse_args().check
    made = cases()
    rows = "".join(_row(case) for case in made)
    code = f"{_HEAD}EDGE_CASES: tuple[tuple[str, str, str, bool], ...] = (\n{rows})\n"
    wanted = {ROOT / "src/yilian/base/edge_cases.py": code, ROOT / "vectors/ed25519.json": json.dumps(made, indent=1) + "\n"}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is stale, run tools/edge_vectors.py' if only_check else 'written'}")
        if not only_check:
            path.write_text(wanted[path])
    return 1 if stale and only_check else 0


if __name__ == "__main__":
    sys.exit(main())
