"""Judges a past use of consent again, offline: from what was recorded, its proofs, and the policy of that time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from privacy.consent import IN_FORCE, TCF_PURPOSE

# By what the service decides whether consent is in force; the log is told of it, and of each change.
POLICY: Mapping[str, Any] = MappingProxyType(
    {
        "policy": "consent-v1",
        "in_force": sorted(IN_FORCE),
        "tcf_purpose": dict(TCF_PURPOSE),
        "never": ["coppa", "gpc", "minor", "special-category-page"],
    }
)
