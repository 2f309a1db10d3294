"""Nautilus's core: handshakes as lists of steps, run without I/O. The public names, and nothing else."""

from . import noise, profiles
from .channel import SecureChannel
from .channel_binding import ChannelBinding, ChannelBindings
from .context import Context
from .crypto.entropy import Entropy
from .crypto.suites import DEFAULT_SUITES, SUITES, CipherSuite
from .datagrams import DatagramChannel
from .errors import (
    ALERTS,
    AlertCode,
    AuthenticationFailed,
    HandshakeError,
    HandshakeTimeout,
    InvalidMessage,
    KeyAgreementFailed,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    SessionKeyDerivationFailed,
)
from .events import (
    NEED_DATA,
    PAUSED,
    Accepted,
    DataReceived,
    Event,
    HandshakeCompleted,
    KeyUpdated,
    PeerClosed,
    PeerIdentified,
    Question,
    Signal,
    SignatureNeeded,
    StepCompleted,
    StepSkipped,
)
from .handshake import Handshake
from .identity import trust
from .identity.credentials import CredentialKind, Presented
from .identity.did import ResolveIdentity
from .identity.identities import ANONYMOUS, Anonymous, Identity
from .identity.keys import PublicKey
from .identity.peers import ClaimedPeer, Peer, VerifiedPeer, certify
from .identity.policy import TrustPolicy
from .identity.psks import PreSharedKey
from .identity.targets import Identities
from .identity.trust import InMemoryKnownPeers, KnownPeers
from .layout import Layout, PlacedStep, lay_out
from .limits import Limits
from .profile import Profile
from .role import INITIATOR, RESPONDER, Role, Stage
from .session import Session
from .state import State
from .step import CustomProtocolStep, HandshakeStep, Message, MessageStep, MultiMessageStep
from .steplist import StepList
from .steps.authentication import Authentication
from .steps.cipher_suite import CipherSuiteAck, CipherSuiteExchange
from .steps.hello import HelloResponse, NodeHello
from .steps.key_agreement import KeyAgreement
from .steps.session_keys import SessionKeyDerivation
from .steps.tls import TlsStep
from .steps.upgrade import TransportUpgrade, UpgradeToTls
from .stream import HandshakeStream, LengthPrefixedStream, NautilusStream
from .tls.flight import TlsDetails
from .tls.settings import TlsSettings
from .transport import Channel

__all__ = [
    "ALERTS",
    "ANONYMOUS",
    "DEFAULT_SUITES",
    "INITIATOR",
    "NEED_DATA",
    "PAUSED",
    "RESPONDER",
    "SUITES",
    "Accepted",
    "AlertCode",
    "Anonymous",
    "Authentication",
    "AuthenticationFailed",
    "Channel",
    "ChannelBinding",
    "ChannelBindings",
    "CipherSuite",
    "CipherSuiteAck",
    "CipherSuiteExchange",
    "ClaimedPeer",
    "Context",
    "CredentialKind",
    "CustomProtocolStep",
    "DataReceived",
    "DatagramChannel",
    "Entropy",
    "Event",
    "Handshake",
    "HandshakeCompleted",
    "HandshakeError",
    "HandshakeStep",
    "HandshakeStream",
    "HandshakeTimeout",
    "HelloResponse",
    "Identities",
    "Identity",
    "InMemoryKnownPeers",
    "InvalidMessage",
    "KeyAgreement",
    "KeyAgreementFailed",
    "KeyUpdated",
    "KnownPeers",
    "Layout",
    "LengthPrefixedStream",
    "Limits",
    "LocalProtocolError",
    "Message",
    "MessageStep",
    "MultiMessageStep",
    "NautilusStream",
    "NegotiationFailed",
    "NodeHello",
    "Peer",
    "PeerAborted",
    "PeerClosed",
    "PeerIdentified",
    "PlacedStep",
    "PreSharedKey",
    "Presented",
    "Profile",
    "PublicKey",
    "Question",
    "ResolveIdentity",
    "Role",
    "SecureChannel",
    "Session",
    "SessionKeyDerivation",
    "SessionKeyDerivationFailed",
    "Signal",
    "SignatureNeeded",
    "Stage",
    "State",
    "StepCompleted",
    "StepList",
    "StepSkipped",
    "TlsDetails",
    "TlsSettings",
    "TlsStep",
    "TransportUpgrade",
    "TrustPolicy",
    "UpgradeToTls",
    "VerifiedPeer",
    "certify",
    "lay_out",
    "noise",
    "profiles",
    "trust",
]
