"""Floor 0: the words that every room uses. Pure; no room above is known here.

Its submodules are its doors: `codec`, `labels`, `digests`, `merkle`, `keys`, `cose`, `transaction`, `refusals`, `kinds`, `times`, `seal`,
`artefacts`.
"""
