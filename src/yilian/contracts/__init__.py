"""Floor 1: the rules, one room per contract. Rooms do not know each other; `ledger` hands over what one must know of another."""
