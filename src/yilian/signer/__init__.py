"""The practitioner's own side: keys that no node ever holds, in a process of its own (floor 6, imports `base` only; ADR-0033).

`python -m yilian.signer` is the process; `SignerClient` is what the practitioner's software speaks to it with.
"""

from yilian.signer.client import SignerClient, SignerGone, spawn
from yilian.signer.keyfile import create
from yilian.signer.protocol import No, SignerRefused

__all__ = ["No", "SignerClient", "SignerGone", "SignerRefused", "create", "spawn"]
