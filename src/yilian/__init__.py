"""Yilian: a region of health-care members on one small ledger; health data stays with its holders."""

__version__ = "0.1.0"
