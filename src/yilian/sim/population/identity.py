"""Who a simulated person is: sex, birth date, numbers, address. Nothing here can belong to anybody.

Source   GB 11643-1999 (18 digits: county 6, birth date 8, order 3 with the sex in its last digit, check digit by ISO 7064 MOD 11-2).
         County codes from 990000 on are of no province; mobile numbers of 160 are given to no operator; the city is invented.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final

from yilian.sim.population import names

_COUNTY_FIRST: Final = 999_999
_ORDERS: Final = 500  # the order's last digit is the sex: 500 per sex, birth date and county
_PHONE_FIRST: Final = 160_0000_0000
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK: Final = "10X98765432"
_DISTRICTS: Final = {
    "clinic-1": ("北湖区", ("望湖路", "荷风巷", "柳荫街", "书院路")),
    "clinic-2": ("东岭区", ("松岗路", "茶山街", "石桥巷", "朝晖路")),
}
PROVINCE, CITY = "云溪省", "澜江市"

# (first age, last age, parts in a hundred): a clinic's list is older than the city.
_AGES: Final = ((1, 17, 6), (18, 34, 14), (35, 49, 22), (50, 64, 30), (65, 79, 21), (80, 92, 7))


@dataclass(frozen=True, slots=True)
class Identity:
    """The demographic part of a person; `birth_date` is ISO 8601, `home_clinic` a member id."""

    name: names.Name
    sex: str
    birth_date: str
    id_number: str
    phone: str
    address: tuple[str, str]
    home_clinic: str

    def age_years(self, now_s: int) -> int:
        """Return the age in full years on that day."""
        born, now = date.fromisoformat(self.birth_date), day_of(now_s)
        return now.year - born.year - ((now.month, now.day) < (born.month, born.day))

    def days_lived(self, now_s: int) -> int:
        """Return the age in days: no event of a chart is older."""
        return (day_of(now_s) - date.fromisoformat(self.birth_date)).days


def day_of(now_s: int) -> date:
    """Return the calendar day of an instant in the region (UTC+8, no summer time)."""
    return datetime.fromtimestamp(now_s + 8 * 3_600, UTC).date()


def check_digit(seventeen: str) -> str:
    """Return the eighteenth sign of an identity number."""
    return _CHECK[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, seventeen, strict=True)) % 11]


def id_number(birth_date: str, sex: str, number: int) -> str:
    """Return the identity number of the region's person `number`, different for every number."""
    county, order = _COUNTY_FIRST - number // _ORDERS, number % _ORDERS * 2 + (sex == "male")
    seventeen = f"{county:06}{birth_date.replace('-', '')}{order:03}"
    return seventeen + check_digit(seventeen)


def born(rng: Random, now_s: int, first_age: int, last_age: int) -> str:
    """Return a birth date that makes the person `first_age` to `last_age` years old on the day of `now_s`."""
    today = day_of(now_s)
    years = rng.randint(first_age, last_age)
    # Five days of the year of life are left out, so that leap days cannot move the age.
    return (today - timedelta(days=years * 365 + years // 4 + 1 + rng.randrange(360))).isoformat()


def draw(rng: Random, number: int, now_s: int) -> Identity:
    """Return person `number`."""
    sex = rng.choice(("male", "female"))
    first_age, last_age, _ = rng.choices(_AGES, [parts for _, _, parts in _AGES])[0]
    return identity(rng, number, names.draw(rng, sex), sex, born(rng, now_s, first_age, last_age), rng.choice(("clinic-1", "clinic-2")))


def identity(rng: Random, number: int, name: names.Name, sex: str, birth_date: str, home_clinic: str) -> Identity:
    """Return the identity with its numbers and an address near the home clinic."""
    district, streets = _DISTRICTS[home_clinic]
    line = f"{rng.choice(streets)}{rng.randint(1, 288)}号{rng.randint(1, 18)}栋{rng.randint(1, 24)}0{rng.randint(1, 4)}室"
    phone = f"{_PHONE_FIRST + number:011}"
    return Identity(name, sex, birth_date, id_number(birth_date, sex, number), phone, (district, line), home_clinic)
