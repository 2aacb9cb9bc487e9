"""What can be wrong with a key store: each a type and a sentence that says what to do. Sentences hold no key and no passphrase."""


class VaultFault(Exception):
    """The key store cannot be used as asked."""


class VaultMissing(VaultFault):
    """There is no key store in the folder."""


class VaultExists(VaultFault):
    """There is one already; keys are never overwritten."""


class VaultInUse(VaultFault):
    """Another process has it open."""


class VaultExposed(VaultFault):
    """Its seed is not sealed, and other users of the machine can read it."""


class WrongPassphrase(VaultFault):
    """The passphrase does not open the seed, or one was given or withheld where the other was needed."""


class VaultCorrupt(VaultFault):
    """Its bytes are not those that were written."""


class NotSealedHere(VaultFault):
    """Bytes to open were changed, stood elsewhere, or their key was destroyed."""
