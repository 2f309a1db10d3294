"""Nautilus over AnyIO: moves bytes and keeps time, on asyncio or Trio. The public names, and nothing else."""

from . import transcript
from .adapters import ObjectByteStream
from .connect import Answer, EventHook, connect, connect_unix, handshake
from .errors import ChannelFailed, TransportFailed
from .listen import ConnectionFailure, ErrorHook, Handler, SecureListener, serve
from .resolve import ByMethod, Cache, Resolver, Unresolvable, answering
from .stores import KnownPeersFile, StoreError, load_identity, save_identity
from .stream import SecureAttribute, SecureStream

__all__ = [
    "Answer",
    "ByMethod",
    "Cache",
    "ChannelFailed",
    "ConnectionFailure",
    "ErrorHook",
    "EventHook",
    "Handler",
    "KnownPeersFile",
    "ObjectByteStream",
    "Resolver",
    "SecureAttribute",
    "SecureListener",
    "SecureStream",
    "StoreError",
    "TransportFailed",
    "Unresolvable",
    "answering",
    "connect",
    "connect_unix",
    "handshake",
    "load_identity",
    "save_identity",
    "serve",
    "transcript",
]
