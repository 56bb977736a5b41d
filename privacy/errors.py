"""Every error that `privacy` raises."""

from __future__ import annotations


class PrivacyError(Exception):
    """Something that this package refuses."""


class FieldError(PrivacyError, ValueError):
    """A field of a request that cannot be admitted. `got` names the kind of the value and never quotes it."""

    def __init__(self, field: str, got: str, expected: str) -> None:
        super().__init__(f"{field}: got {got}, expected {expected}")
        self.field = field
        self.got = got
        self.expected = expected


class KeyringError(PrivacyError):
    """A key file that is missing, damaged or open to others. The message names the file and the remedy."""


class LogError(PrivacyError):
    """A consent log, one of its proofs, notes or files, that does not hold; says what came and what was expected."""
