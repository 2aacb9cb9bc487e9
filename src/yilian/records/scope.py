"""What may be seen: the value that the release gate hands to the store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be seen. Every field narrows; the default lets everything through.

    types           resource types, None = all
    from_s, until_s period of the data, Unix seconds, end exclusive: a resource's whole clinical extent lies inside (ADR-0024)
    labels_allowed  security label codes (`meta.security`): every label of a resource is among them; None = any
    labels_denied   none of a resource's labels is among them
    patient_id      only this patient's compartment, and nothing that is also in another's; resources that are in nobody's compartment
                    (Practitioner, Organization, Medication ...) are reached as includes only
    """

    types: frozenset[str] | None = None
    from_s: int | None = None
    until_s: int | None = None
    labels_allowed: frozenset[str] | None = None
    labels_denied: frozenset[str] = frozenset()
    patient_id: str | None = None

    def meet(self, other: "Scope") -> "Scope":
        """Return the scope that both allow."""
        one_patient = self.patient_id is None or other.patient_id is None or self.patient_id == other.patient_id
        return Scope(
            types=_both(self.types, other.types) if one_patient else frozenset(),
            from_s=max((s for s in (self.from_s, other.from_s) if s is not None), default=None),
            until_s=min((s for s in (self.until_s, other.until_s) if s is not None), default=None),
            labels_allowed=_both(self.labels_allowed, other.labels_allowed),
            labels_denied=self.labels_denied | other.labels_denied,
            patient_id=self.patient_id if self.patient_id is not None else other.patient_id,
        )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


EVERYTHING = Scope()
