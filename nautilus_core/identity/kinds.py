"""Every kind of credential by name: the registry. Each kind has a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .credentials import CredentialKind, RawPublicKeys
from .did import DidCredentials
from .x509 import X509Chains

KINDS: Final[Mapping[str, CredentialKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            RawPublicKeys(),
            X509Chains(),
            DidCredentials(),
        )
    }
)
"""Beside them there is `anonymous`, which is no credential."""
