"""The Noise Protocol Framework, revision 34: patterns, names, and the three states that process them. Public names only.

`profiles.noise(...)` runs all of it on the engine; what stands here is for whoever wants the states alone.
"""

from .channel import NoiseChannel
from .functions import KeyPair, RemoteKey
from .handshake_state import HandshakeState
from .modifiers import handshake_pattern
from .names import NoiseProtocol
from .patterns import HandshakePattern, MessagePattern
from .payloads import NoiseView, PayloadHook
from .properties import Properties
from .step import NoiseMessage
from .symmetric import CipherState, SymmetricState
from .validity import InvalidPattern

__all__ = [
    "CipherState",
    "HandshakePattern",
    "HandshakeState",
    "InvalidPattern",
    "KeyPair",
    "MessagePattern",
    "NoiseChannel",
    "NoiseMessage",
    "NoiseProtocol",
    "NoiseView",
    "PayloadHook",
    "Properties",
    "RemoteKey",
    "SymmetricState",
    "handshake_pattern",
]
