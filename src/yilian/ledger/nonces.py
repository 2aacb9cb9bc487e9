"""Replay windows: each node key has a window of 65,536 nonces, kept as pages of 1,024 bits, and each nonce is spent once.

State    `n/` kid -> highest nonce spent (8 bytes); `n/` kid page (8 bytes) -> 128 bytes, bit i of byte j is nonce `1024 * page + 8 * j
         + i`. A page that has left the window is deleted.
Source   design 02 "Replay".
"""

from __future__ import annotations

from yilian.base.kinds import StateView, Writes
from yilian.base.refusals import Reason, require

PREFIX = b"n/"
WINDOW = 65_536  # design 02
PAGE_BITS = 1_024  # design 02
RESTART_SKIP = 4_096  # design 02: on start a node continues at the highest spent + 4,096


class Windows:
    """The windows of the keys that occur in one block; written back once at its end."""

    def __init__(self, view: StateView) -> None:
        """Begin a block; windows are read when they are first asked for."""
        self._view = view
        self._highest: dict[bytes, int] = {}
        self._pages: dict[tuple[bytes, int], bytearray] = {}
        self._writes: Writes = {}

    def spend(self, kid: bytes, nonce: int) -> None:
        """Spend `nonce` of the key `kid`.

        Refuses  NONCE_TOO_OLD, NONCE_TOO_FAR, REPLAYED
        """
        highest = self._highest.get(kid)
        if highest is None:
            highest = self._highest[kid] = highest_spent(self._view, kid)
        require(nonce > highest - WINDOW, Reason.NONCE_TOO_OLD, highest=highest)
        require(nonce <= highest + WINDOW, Reason.NONCE_TOO_FAR, highest=highest)
        number, bit = divmod(nonce, PAGE_BITS)
        page = self._page(kid, number)
        mask = 1 << (bit & 7)
        require(not page[bit >> 3] & mask, Reason.REPLAYED, nonce=nonce)
        page[bit >> 3] |= mask
        if nonce > highest:
            self._highest[kid] = nonce
            self._drop_pages(kid, highest, nonce)

    def writes(self) -> Writes:
        """Return the rows that changed."""
        result = dict(self._writes)
        for kid, highest in self._highest.items():
            if highest:  # a key that has spent nothing has no row
                result[PREFIX + kid] = highest.to_bytes(8, "big")
        for (kid, number), page in self._pages.items():
            if (number + 1) * PAGE_BITS > self._highest[kid] - WINDOW + 1:
                result[_page_key(kid, number)] = bytes(page)
        return result

    def _page(self, kid: bytes, number: int) -> bytearray:
        page = self._pages.get((kid, number))
        if page is None:
            page = bytearray(self._view.get(_page_key(kid, number)) or bytes(PAGE_BITS // 8))
            self._pages[kid, number] = page
        return page

    def _drop_pages(self, kid: bytes, before: int, after: int) -> None:
        first_kept = max(0, after - WINDOW + 1) // PAGE_BITS
        for number in range(max(0, before - WINDOW + 1) // PAGE_BITS, first_kept):
            self._writes[_page_key(kid, number)] = None


def highest_spent(view: StateView, kid: bytes) -> int:
    """Return the highest nonce that the key has spent; 0 for a key that has spent none."""
    value = view.get(PREFIX + kid)
    return int.from_bytes(value, "big") if value is not None else 0


def _page_key(kid: bytes, number: int) -> bytes:
    return PREFIX + kid + number.to_bytes(8, "big")
