"""The keys that follow from a wallet's seed, per holder and generation (design 04 "Enrolment"). Nothing here is stored."""

from dataclasses import dataclass, field

from yilian.base.artefacts import control_seed, relationship_seed, sealing_secret
from yilian.base.keys import SEED_SIZE, SigningKey
from yilian.base.seal import patient_public


@dataclass(frozen=True, slots=True)
class WalletKeys:
    """A seed of 32 bytes in one network. Its text form shows nothing secret."""

    seed: bytes = field(repr=False)
    network: bytes

    def __post_init__(self) -> None:
        """A seed has exactly 32 bytes; another length is the caller's defect."""
        if len(self.seed) != SEED_SIZE:
            raise ValueError("a wallet's seed has exactly 32 bytes")

    def relationship(self, holder: str, generation: int) -> SigningKey:
        """Return R_h, the pair."""
        return SigningKey(relationship_seed(self.seed, self.network, holder, generation))

    def sealing_secret(self, holder: str, generation: int) -> bytes:
        """Return the secret of S_h."""
        return sealing_secret(self.seed, self.network, holder, generation)

    def sealing_public(self, holder: str, generation: int) -> bytes:
        """Return S_h."""
        return patient_public(self.sealing_secret(holder, generation))

    def control(self, holder: str, number: int) -> SigningKey:
        """Return the control key of grant `number` at `holder`, the pair."""
        return SigningKey(control_seed(self.seed, self.network, holder, number))
