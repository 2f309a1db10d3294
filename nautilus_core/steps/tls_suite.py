"""`suite`, where all suites are TLS's: nothing is signed outside TLS, and no key share is sent. The messages are those of
`cipher_suite`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AlertCode, InvalidMessage, NegotiationFailed
from ..identity.identities import ANONYMOUS
from ..role import RESPONDER, Role, Stage
from ..step import MessageStep
from ..tls.settings import TlsSettings
from .cipher_suite import SuiteNegotiation, SuiteOptions, SuiteSelection
from .fields import GREASE_BYTES, check_lengths, grease, listed

if TYPE_CHECKING:
    from ..context import Context


def tls_suite_options(settings: TlsSettings) -> SuiteOptions:
    """What a side with these settings can use: what its context enables, in its order."""
    names = tuple(settings.suites)
    return SuiteOptions(ANONYMOUS, settings.trust, dict.fromkeys(Role, names), settings.suites, {})


class TlsSuiteAck(MessageStep[SuiteSelection]):
    """The responder selects a suite by its own preference, as its TLS will do: both ends check that it did."""

    name, sender, message = "suite", RESPONDER, SuiteSelection
    needs, built_in = Stage.NOTHING, True

    __slots__ = ("_negotiation",)

    def __init__(self, negotiation: SuiteNegotiation) -> None:
        self._negotiation = negotiation

    def write(self, context: Context) -> SuiteSelection:
        """Select, unless there is nothing in common."""
        negotiation = self._negotiation
        selected = next(negotiation.common(), None)
        if selected is None:
            offered = () if negotiation.offered is None else negotiation.offered.suites
            raise NegotiationFailed(
                "no cipher suite in common",
                expected=f"one of {listed(negotiation.options.usable[RESPONDER])}",
                received=listed(offered),
            )
        negotiation.selected = negotiation.options.suites[selected]
        unknown = grease(context.entropy.random_bytes(GREASE_BYTES))
        trust = negotiation.trust
        return SuiteSelection(selected, (*trust.schemes, unknown), (*trust.credential_types, unknown))

    def read(self, context: Context, message: SuiteSelection) -> None:
        """Check that the suite was offered."""
        suites = self._negotiation.options.suites
        if message.suite not in suites:
            raise InvalidMessage(
                "the responder selected a suite that was not offered",
                expected=listed(tuple(suites)),
                received=repr(message.suite),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        check_lengths(message.schemes + message.credential_types)
        self._negotiation.selected = suites[message.suite]

    def commit(self, context: Context) -> None:
        """Fix the hash."""
        suite = self._negotiation.selected
        if suite is None:
            raise InvalidMessage("no suite was selected", alert=AlertCode.UNEXPECTED_MESSAGE)
        context.suite = suite
        context.select_hash(suite.hash.name)


__all__ = ["TlsSuiteAck", "tls_suite_options"]
