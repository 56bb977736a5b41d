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


# --- pseudonyms, noise and budgets ---


class KeyDestroyed(PrivacyError):
    """The key of an epoch that is over: what was made with it can be linked to nobody."""


class NoiseError(PrivacyError):
    """There is no calibrated noise to be had: nothing may be told. The message names the remedy."""


class BudgetSpent(PrivacyError):
    """A scope has no room left. What it says follows from public numbers alone: cap, spent and the cost."""

    def __init__(self, scope: str, micro_epsilon: int, spent: int, cap: int) -> None:
        super().__init__(
            f"{scope}: got a cost of {micro_epsilon} micro-epsilon, expected at most {cap - spent} of {cap}"
        )
        self.scope = scope
        self.micro_epsilon = micro_epsilon
        self.spent = spent
        self.cap = cap


class ReleaseError(PrivacyError):
    """A table that cannot be released or read; says which and why, and no count."""


class ErasureError(PrivacyError):
    """A record that cannot be sealed or opened; says which leaf's, and nothing of what is in it."""
