"""Replay windows: each node key has a window of 65,536 nonces, kept as pages of 1,024 bits, and each nonce is spent once.

State    `n/` kid -> highest nonce spent (8 bytes); `n/` kid page (8 bytes) -> 128 bytes, bit i of byte j is nonce `1024 * page + 8 * j
         + i`. A page that has left the window is deleted.
Source   design 02 "Replay".
"""

from __future__ import annotations

from yilian.base.kinds import StateView, Writes
from yilian.base.refusals import Reason, Refused

PREFIX = b"n/"
WINDOW = 65_536  # design 02
PAGE_BITS = 1_024  # design 02
RESTART_SKIP = 4_096  # design 02: on start a node continues at the highest spent + 4,096


class Windows:
    """The windows of the keys that occur in one block; written back once at its end."""

    def __init__(self, view: StateView) -> None:
        """Begin a block; windows are read when they are first asked for."""
        self._view = view
        self._before: dict[bytes, int] = {}  # the highest spent when the block began
        self._highest: dict[bytes, int] = {}
        self._pages: dict[tuple[bytes, int], bytearray] = {}

    def spend(self, kid: bytes, nonce: int) -> None:
        """Spend `nonce` of the key `kid`.

        Refuses  NONCE_TOO_OLD, NONCE_TOO_FAR, REPLAYED
        """
        highest = self._highest.get(kid)
        if highest is None:
            highest = self._before[kid] = self._highest[kid] = highest_spent(self._view, kid)
        if nonce <= highest - WINDOW:
            raise Refused(Reason.NONCE_TOO_OLD, highest=highest)
        if nonce > highest + WINDOW:
            raise Refused(Reason.NONCE_TOO_FAR, highest=highest)
        number, bit = divmod(nonce, PAGE_BITS)
        page = self._page(kid, number)
        mask = 1 << (bit & 7)
        if page[bit >> 3] & mask:
            raise Refused(Reason.REPLAYED, nonce=nonce)
        page[bit >> 3] |= mask
        if nonce > highest:
            self._highest[kid] = nonce

    def writes(self) -> Writes:
        """Return the rows that changed."""
        result: Writes = {}
        for kid, highest in self._highest.items():
            for number in range(_first_page(self._before[kid]), _first_page(highest)):
                result[_page_key(kid, number)] = None
            if highest:  # a key that has spent nothing has no row
                result[PREFIX + kid] = highest.to_bytes(8, "big")
        for (kid, number), page in self._pages.items():
            if number >= _first_page(self._highest[kid]):
                result[_page_key(kid, number)] = bytes(page)
        return result

    def _page(self, kid: bytes, number: int) -> bytearray:
        page = self._pages.get((kid, number))
        if page is None:
            page = bytearray(self._view.get(_page_key(kid, number)) or bytes(PAGE_BITS // 8))
            self._pages[kid, number] = page
        return page


def highest_spent(view: StateView, kid: bytes) -> int:
    """Return the highest nonce that the key has spent; 0 for a key that has spent none."""
    value = view.get(PREFIX + kid)
    return int.from_bytes(value, "big") if value is not None else 0


def _first_page(highest: int) -> int:
    """Return the number of the oldest page that a window still reaches into."""
    return max(0, highest - WINDOW + 1) // PAGE_BITS


def _page_key(kid: bytes, number: int) -> bytes:
    return PREFIX + kid + number.to_bytes(8, "big")
