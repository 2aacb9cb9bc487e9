"""Whom outbound connections trust, read once in a process: nearly all that making a client costs (30 ms), and a region makes many."""

import ssl
from functools import cache

import httpx


@cache
def authorities(ca_file: str | None) -> ssl.SSLContext:
    """Return the context that trusts `ca_file`, or the public authorities."""
    return httpx.create_ssl_context(trust_env=False) if ca_file is None else ssl.create_default_context(cafile=ca_file)
