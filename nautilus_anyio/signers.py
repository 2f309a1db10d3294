"""Signatures of a private key that lives elsewhere: what an agent must be able to do, and how it answers a handshake."""

from __future__ import annotations

from typing import Any, Protocol

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead

from nautilus_core import PublicKey, SignatureNeeded

from .pump import Answer

_TROUBLE = (OSError, ValueError, EndOfStream, IncompleteRead, BrokenResourceError, ClosedResourceError)


class Signer(Protocol):
    """Whoever has the private key: an SSH agent, an HSM, a key management service."""

    async def sign(self, public_key: PublicKey, content: bytes) -> bytes:
        """The signature over `content`, as it is, with the private key of `public_key`.

        Raises:
            ValueError: it has no such key, or does not want to.
            OSError: it cannot be reached; the errors of AnyIO's streams say the same.
        """


def signing_with(signer: Signer, answer: Answer | None = None) -> Answer:
    """What to give as `answer=` where the identity is `Identity.delegated`.

    When the signer cannot sign, the handshake fails with `HandshakeError`, which says why.

    Args:
        signer: signs.
        answer: answers all other questions; without it they are refused.
    """

    async def answering(question: Any) -> None:
        if isinstance(question, SignatureNeeded):
            await _sign(signer, question)
        elif answer is None:
            question.reject(f"nobody answers a {type(question).__name__} here")
        elif (later := answer(question)) is not None:
            await later

    return answering


async def _sign(signer: Signer, question: SignatureNeeded) -> None:
    try:
        signature = await signer.sign(question.public_key, question.content)
    except _TROUBLE as error:
        question.reject(f"the signer failed: {str(error) or type(error).__name__}")
    else:
        question.answer(signature)
