"""The recorded handshakes that are bound to a TLS connection below, and the upgrade to one."""

from __future__ import annotations

from functools import partial
from typing import Final

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    ChannelBinding,
    ChannelBindings,
    Profile,
    TransportUpgrade,
    UpgradeToTls,
)
from nautilus_core.channel_binding import TLS_EXPORTER, TLS_SERVER_END_POINT
from nautilus_core.testing import Pair

from .case import Case
from .sides import initiator, responder

END_POINT: Final = ChannelBinding(TLS_SERVER_END_POINT, bytes(range(32)))
ONE: Final = ChannelBindings((ChannelBinding(TLS_EXPORTER, b"1" * 32), END_POINT))
OTHER: Final = ChannelBindings((ChannelBinding(TLS_EXPORTER, b"2" * 32), END_POINT))


def _upgraded(make: type[UpgradeToTls] | partial[UpgradeToTls], profile: Profile) -> Profile:
    return profile.insert_after("hello-response", make)


def _switch(pair: Pair) -> None:
    """Both ends wait: TLS is there now."""
    for end in (pair.initiator, pair.responder):
        for question in end.events:
            if isinstance(question, TransportUpgrade):
                question.secured(ONE)
    pair.run()


BINDINGS: Final[dict[str, Case]] = {
    "channel-bound": Case(
        "both ends are on one TLS connection", initiator, responder, bindings={INITIATOR: ONE, RESPONDER: ONE}
    ),
    "channel-bound-to-certificate": Case(
        "both ends know the server's certificate alone",
        initiator,
        responder,
        bindings={INITIATOR: ONE, RESPONDER: ChannelBindings((END_POINT,))},
    ),
    "channel-binding-differs": Case(
        "somebody terminates TLS between the two ends",
        initiator,
        responder,
        bindings={INITIATOR: ONE, RESPONDER: OTHER},
    ),
    "channel-binding-missing": Case(
        "only the responder is on a TLS connection", initiator, responder, bindings={RESPONDER: ONE}
    ),
    "upgrade-to-tls": Case(
        "both ends go on inside TLS after the hellos",
        lambda: _upgraded(UpgradeToTls, initiator()),
        lambda: _upgraded(partial(UpgradeToTls, required=True), responder()),
        use=_switch,
    ),
    "upgrade-skipped": Case(
        "only the initiator can go on inside TLS", lambda: _upgraded(UpgradeToTls, initiator()), responder
    ),
}
