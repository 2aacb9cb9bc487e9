"""Every form in which something said of a patient could lie in bytes: what the walk over the ledger looks for.

Forms    UTF-8, UTF-16 both ways, lower and upper case; each also as hexadecimal text and in base64 at its three alignments (the part
         that does not depend on neighbours). A form shorter than `SIZE_BYTES_MIN` is found in random bytes by chance and is left out: the
         caller sees how many there were.
Source   design 01 "Private rooms hold PHI; floors 0-2 never see any".
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from yilian.sim.population import Person

SIZE_BYTES_MIN: Final = 5  # a random megabyte holds a given string of 5 bytes with probability 1e-6
_NOT_ABOUT_A_PERSON: Final = frozenset({"resourceType", "system", "use", "status", "unit", "comparator", "url"})


def sayings(person: Person) -> set[str]:
    """Return every text that says something of the person: names in characters and pinyin, birth date, numbers, phone, and every text,
    code and value in the charts.
    """
    said = {person.name_zh, person.name_pinyin, person.name_pinyin.replace(" ", ""), person.birth_date, person.id_number, person.phone}
    said |= {" ".join(reversed(person.name_pinyin.split(" "))), person.birth_date.replace("-", ""), *person.local_ids.values()}
    for chart in person.charts.values():
        for resource in chart:
            said |= set(_texts(resource, ""))
    return {text for text in said if text}


def _texts(value: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, name)
    elif isinstance(value, str) and name not in _NOT_ABOUT_A_PERSON:
        yield value
        if name == "reference":
            yield value.rpartition("/")[2]
        if name in ("div", "text", "display"):
            yield from (part for part in re.split(r"<[^>]*>|[\s,，。;；]+", value) if part)


def forms(text: str) -> set[bytes]:
    """Return the bytes that would give `text` away."""
    plain = {each.encode(encoding) for each in (text, text.lower(), text.upper()) for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    plain |= {
        bytes.fromhex(compact) for compact in [text.replace("-", "")] if re.fullmatch(r"(?:[0-9a-f]{2}){8,}", compact)
    }  # a UUID's bytes
    found = {each for each in plain if len(each) >= SIZE_BYTES_MIN}
    for each in list(found):
        found |= {each.hex().encode(), each.hex().upper().encode()}
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + each)
            kept = coded[(8 * shift + 5) // 6 : (8 * (shift + len(each))) // 6]
            found |= {kept, kept.translate(bytes.maketrans(b"+/", b"-_"))}
    return {each for each in found if len(each) >= SIZE_BYTES_MIN}


def needles(people: Iterable[Person]) -> set[bytes]:
    """Return all forms of all sayings of all people."""
    said: set[str] = set()
    for person in people:
        said |= sayings(person)
    return {form for text in said for form in forms(text)}


def found_in(haystack: bytes, wanted: Iterable[bytes]) -> set[bytes]:
    """Return those needles that lie in `haystack`. One pass: only where a needle's beginning fits, the rest is compared."""
    by_beginning: dict[bytes, list[bytes]] = {}
    for needle in wanted:
        by_beginning.setdefault(needle[:SIZE_BYTES_MIN], []).append(needle)
    found: set[bytes] = set()
    for at in range(len(haystack) - SIZE_BYTES_MIN + 1):
        for needle in by_beginning.get(haystack[at : at + SIZE_BYTES_MIN], ()):
            if haystack.startswith(needle, at):
                found.add(needle)
    return found
