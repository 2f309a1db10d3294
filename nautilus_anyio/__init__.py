"""Nautilus over AnyIO: moves bytes and keeps time, on asyncio or Trio. The public names, and nothing else."""

from . import transcript
from .adapters import ObjectByteStream
from .admission import ListenerLimits
from .connect import connect, connect_unix, handshake
from .counters import Counters, Durations, Metric, Refusal
from .errors import ChannelFailed, TransportFailed
from .listen import ErrorHook, SecureListener, serve
from .psk_file import PskFile, load_psks
from .pump import Answer, EventHook
from .reception import ConnectionFailure, Handler
from .resolve import ByMethod, Cache, Resolver, Unresolvable, answering
from .retry import AttemptFailed, Retry
from .signers import Signer, signing_with
from .stores import KnownPeersFile, StoreError, load_identity, save_identity
from .stream import SecureAttribute, SecureStream
from .tls import Tls, TlsStream, bindings_of

__all__ = [
    "Answer",
    "AttemptFailed",
    "ByMethod",
    "Cache",
    "ChannelFailed",
    "ConnectionFailure",
    "Counters",
    "Durations",
    "ErrorHook",
    "EventHook",
    "Handler",
    "KnownPeersFile",
    "ListenerLimits",
    "Metric",
    "ObjectByteStream",
    "PskFile",
    "Refusal",
    "Resolver",
    "Retry",
    "SecureAttribute",
    "SecureListener",
    "SecureStream",
    "Signer",
    "StoreError",
    "Tls",
    "TlsStream",
    "TransportFailed",
    "Unresolvable",
    "answering",
    "bindings_of",
    "connect",
    "connect_unix",
    "handshake",
    "load_identity",
    "load_psks",
    "save_identity",
    "serve",
    "signing_with",
    "transcript",
]
