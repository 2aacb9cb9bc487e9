"""Key store of one member (floor 3): its seed, what follows from it, and the keys that can be destroyed. ADR-0061."""

from yilian.vault.faults import (
    NotSealedHere,
    VaultCorrupt,
    VaultExists,
    VaultExposed,
    VaultFault,
    VaultInUse,
    VaultMissing,
    WrongPassphrase,
)
from yilian.vault.shelf import Kind
from yilian.vault.vault import KEYS_FILE, SEED_FILE, BodyCipher, Vault, VersionKeys

__all__ = [
    "KEYS_FILE",
    "SEED_FILE",
    "BodyCipher",
    "Kind",
    "NotSealedHere",
    "Vault",
    "VaultCorrupt",
    "VaultExists",
    "VaultExposed",
    "VaultFault",
    "VaultInUse",
    "VaultMissing",
    "VersionKeys",
    "WrongPassphrase",
]
