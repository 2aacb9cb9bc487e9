"""The members of the simulated region: ids, kinds, names, voting power. Invented; none stands for a real institution."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Member:
    """One founding member; `kind` is a word of the contract `directory`, `power` its votes."""

    id: str
    kind: str
    name_zh: str
    name_en: str
    power: int


# One vote each: no proposal passes without six of the eight, and no two kinds of member can carry one alone.
MEMBERS: Final = (
    Member("clinic-1", "clinic", "澜江市北湖社区卫生服务中心", "Beihu Community Health Centre", 1),
    Member("clinic-2", "clinic", "澜江市东岭社区卫生服务中心", "Dongling Community Health Centre", 1),
    Member("hospital-1", "hospital", "澜江市第一人民医院", "Lanjiang First People's Hospital", 1),
    Member("hospital-2", "hospital", "澜江市心血管病医院", "Lanjiang Cardiovascular Hospital", 1),
    Member("pharmacy-1", "pharmacy", "澜江康泰大药房", "Kangtai Pharmacy", 1),
    Member("maker-1", "manufacturer", "云溪制药有限公司", "Yunxi Pharmaceuticals", 1),
    Member("exchange-1", "exchange", "云溪数据交易所", "Yunxi Data Exchange", 1),
    Member("regulator-1", "regulator", "云溪省卫生健康监督局", "Yunxi Health Regulator", 1),
)
CARE_MEMBERS: Final = tuple(member for member in MEMBERS if member.kind in ("clinic", "hospital"))


def member(member_id: str) -> Member:
    """Return the member of that id; an id outside the region is the caller's defect (StopIteration)."""
    return next(one for one in MEMBERS if one.id == member_id)
