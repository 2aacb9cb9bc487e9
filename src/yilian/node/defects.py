"""Our own defects, told to the operator and to nobody else: a case number, what kind, and where in the code; never what it says, which may
quote a record.
"""

from __future__ import annotations

import logging
import secrets
import traceback


def noted(error: BaseException, where: object, log: logging.Logger) -> str:
    """Write a defect into the operator's log; return the case number under which it is there."""
    case = secrets.token_hex(4)
    log.error("defect %s in %s: %s", case, where, without_words(error))
    return case


def without_words(error: BaseException) -> str:
    """Return where an exception came from: types and lines of code, of its causes too, never its message."""
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    cause = error.__cause__ or error.__context__
    return f"{type(error).__name__}\n{frames}" + (f"after {without_words(cause)}" if cause is not None else "")
