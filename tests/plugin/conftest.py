"""`pytester` runs a pytest in the middle of ours; what the project's own configuration says does not hold there."""

from __future__ import annotations

import pytest

PROJECT = """
from nautilus_core import INITIATOR, RESPONDER, Identity, profiles, trust
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALICE, BOB = (Identity(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2))
MINE = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.public))
THEIRS = profiles.nautilus(identity=BOB, trust=trust.pinned(ALICE.public))
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with two identities, which are the same in each run."""
    pytester.makepyfile(people=PROJECT)
    return pytester
