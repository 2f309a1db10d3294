"""Nautilus over AnyIO: moves bytes and keeps time, on asyncio or Trio. The public names, and nothing else."""

from .connect import Answer, EventHook, connect, handshake
from .errors import ChannelFailed, TransportFailed
from .listen import ErrorHook, Handler, serve
from .stream import SecureAttribute, SecureStream

__all__ = [
    "Answer",
    "ChannelFailed",
    "ErrorHook",
    "EventHook",
    "Handler",
    "SecureAttribute",
    "SecureStream",
    "TransportFailed",
    "connect",
    "handshake",
    "serve",
]
