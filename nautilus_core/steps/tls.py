"""`tls`: a TLS 1.3 handshake as one step of several messages. It agrees on the key, and both sides prove in it who they are.

Each message holds a flight of TLS, or a piece of one: then the other side answers with an empty message. OpenSSL makes and
reads the flights (`tls.connection`); the trust policy judges the certificates.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..errors import AlertCode, AuthenticationFailed, InvalidMessage, LocalProtocolError
from ..events import Question
from ..identity.credentials import Presented
from ..identity.identities import ANONYMOUS
from ..identity.keys import PublicKey
from ..identity.kinds import KINDS
from ..identity.peers import Peer, VerifiedPeer, check_counts, verify_tls
from ..identity.policy import settle
from ..identity.x509 import X509, encode_certificates, load_chain
from ..role import INITIATOR, Stage
from ..step import MultiMessageStep, Reading
from ..tls.flight import TlsDetails, TlsEnd, TlsResult
from ..tls.problems import error_for

if TYPE_CHECKING:
    from ..context import Context
    from ..tls.settings import TlsSettings

TLS: Final = "tls"


class TlsStep(MultiMessageStep):
    """A TLS 1.3 handshake: the initiator is the client.

    The exporter's output, over the transcript before the step, becomes the shared secret; the certificate's owner the verified
    peer; without a client's certificate it is `ANONYMOUS`, where the server's policy admits that. It needs a selected suite,
    one of `TLS_SUITES`. Its result is a `TlsDetails`.

    Args:
        settings: of the profile.
    """

    name = TLS
    sender = INITIATOR
    needs, provides, built_in = Stage.NOTHING, Stage.PEER, True

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._end: TlsEnd | None = None
        self._pending = b""
        self._result: TlsResult | None = None
        self._peer: Peer | None = None

    def write(self, context: Context) -> bytes:
        """The flight that TLS has ready, as far as it fits a message; nothing where the peer's was not whole."""
        if self._end is None:
            self._advance(context, b"")
        piece, most = self._pending, self._settings.piece
        if len(piece) > most:
            piece = piece[:most]
        self._pending = self._pending[len(piece) :]
        self.finished = self._result is not None and not self._pending
        return piece

    def read(self, context: Context, message: bytes) -> Reading:
        """Give TLS the flight; the trust policy decides once it is complete, before anything more is sent."""
        if not message:
            if not self._pending:
                raise InvalidMessage(
                    "an empty flight of TLS",
                    expected="the peer's next records",
                    received="nothing, and this side has nothing to send",
                    alert=AlertCode.UNEXPECTED_MESSAGE,
                )
            return None
        if self._result is not None:
            raise InvalidMessage(
                "more of TLS than a handshake", received=f"{len(message)} bytes", alert=AlertCode.UNEXPECTED_MESSAGE
            )
        result = self._advance(context, message)
        if result is None:
            return None
        self.finished = context.role is not INITIATOR
        return self._judge(context, result)

    def commit(self, context: Context) -> None:
        """Everything is sealed from here on, and the peer is known."""
        result, peer = self._result, self._peer
        if result is None or peer is None:
            raise LocalProtocolError("a TLS handshake that is not complete")
        context.peer = peer
        context.when_complete(partial(self._settings.trust.remember, peer, context))
        context.publish(
            TlsDetails(result.cipher, result.group, result.alpn.decode("utf-8", "replace"), len(result.certificates))
        )
        context.establish(result.secret)
        self.forget()

    def forget(self) -> None:
        """Drop the connection and the secret."""
        self._end = self._result = None

    def _advance(self, context: Context, received: bytes) -> TlsResult | None:
        """Run TLS on; after a failure its alert becomes the last words, where the peer waits for a message."""
        end = self._end
        if end is None:
            if context.suite is None:
                raise LocalProtocolError("a TLS step before a cipher suite is selected")
            end = self._end = self._settings.end(context.role, context.suite, context.transcript_hash())
        flight = context.entropy.tls(end, received)
        if flight.problem is not None:
            if not self._peer_finished and not self._pending:
                self.last_words = flight.data
            raise error_for(flight.problem)
        self._pending += flight.data
        self._result = flight.result
        return flight.result

    def _judge(self, context: Context, result: TlsResult) -> Reading:
        """Who the peer is, by what it has proved; the policy decides whether it is welcome."""
        trust = self._settings.trust
        if not result.certificates:
            if context.role is INITIATOR or not trust.anonymous:
                raise AuthenticationFailed(
                    "the peer showed no certificate",
                    expected=X509,
                    received="anonymous",
                    alert=AlertCode.CERTIFICATE_REQUIRED,
                )
            self._peer = ANONYMOUS
            return settle(trust.authorize(ANONYMOUS, context), ANONYMOUS, self._admit)
        proved, presented = self._present(result.certificates)
        if isinstance(presented, Presented):
            return self._verify(context, proved, presented)
        return self._resolve(context, proved, presented)

    def _present(
        self, certificates: tuple[bytes, ...]
    ) -> tuple[PublicKey, Presented | Generator[Question[Any], Any, Presented]]:
        """The key that TLS has proved, and the certificates as the policy reads them."""
        trust = self._settings.trust
        kind = trust.kinds.get(X509)
        if kind is None or X509 not in trust.credential_types:
            raise AuthenticationFailed(
                "the peer showed a certificate",
                expected=", ".join(trust.credential_types),
                received=X509,
                alert=AlertCode.UNSUPPORTED_CERTIFICATE,
            )
        try:
            presented = load_chain(certificates)
            proved = presented.keys[0]
            scheme = proved.scheme
            if scheme not in trust.schemes:
                raise ValueError(f"a key for {scheme}; the trust policy takes {', '.join(trust.schemes)}")
            if kind is KINDS[X509]:
                return proved, presented
            return proved, kind.read(encode_certificates(certificates), scheme)
        except ValueError as error:
            raise _not_usable(error) from error

    def _resolve(
        self, context: Context, proved: PublicKey, resolving: Generator[Question[Any], Any, Presented]
    ) -> Generator[Question[Any], Any, None]:
        try:
            presented = yield from resolving
        except ValueError as error:
            raise _not_usable(error) from error
        deciding = self._verify(context, proved, presented)
        if deciding is not None:
            yield from deciding

    def _verify(self, context: Context, proved: PublicKey, presented: Presented) -> Reading:
        self._peer = peer = verify_tls(X509, presented, proved, "TLSv1.3")
        if peer.valid_until is not None:
            check_counts(peer, context.wall_time)
        context.judged = peer
        return settle(self._settings.trust.authorize(peer, context), peer, self._admit)

    def _admit(self, peer: VerifiedPeer) -> None:
        self._peer = peer


def _not_usable(error: ValueError) -> AuthenticationFailed:
    return AuthenticationFailed(
        "the peer's certificates are not usable",
        expected="a chain of certificates in order, the peer's own first",
        received=str(error),
        hint="the peer's chain is made or configured wrong",
        alert=AlertCode.BAD_CERTIFICATE,
    )
