"""The error tree and its one table of alerts: complete, without overlap, and with words for every code."""

from __future__ import annotations

import inspect
from types import MappingProxyType

import pytest

import nautilus_core
from nautilus_core import (
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
    errors,
)
from nautilus_core.errors import alert_meaning


def subclasses(root: type[HandshakeError]) -> set[type[HandshakeError]]:
    """The core's own subclasses of `root`, and `root`."""
    own = {root}
    for sub in root.__subclasses__():
        if sub.__module__.startswith("nautilus_core"):
            own |= subclasses(sub)
    return own


def test_the_tree() -> None:
    assert subclasses(HandshakeError) == {
        HandshakeError,
        NegotiationFailed,
        AuthenticationFailed,
        KeyAgreementFailed,
        SessionKeyDerivationFailed,
        InvalidMessage,
        HandshakeTimeout,
        PeerAborted,
    }
    assert not issubclass(LocalProtocolError, HandshakeError)
    assert not issubclass(HandshakeError, LocalProtocolError)


def test_every_error_has_a_row() -> None:
    assert set(ALERTS) == subclasses(HandshakeError)
    assert isinstance(ALERTS, MappingProxyType)


def test_every_code_stands_in_exactly_one_row() -> None:
    codes = [code for row in ALERTS.values() for code in row]
    assert sorted(codes) == sorted(AlertCode)


def test_every_code_has_a_meaning_of_its_own() -> None:
    meanings = [alert_meaning(code) for code in AlertCode]
    assert len(set(meanings)) == len(AlertCode)
    assert not [meaning for meaning in meanings if "code" in meaning.split()[:2]]
    assert alert_meaning(239) == "unknown code 239"
    assert alert_meaning(255) == "unknown code 255"
    assert alert_meaning(256) == "application code 256"


def test_every_error_of_the_tree_is_exported() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined <= set(nautilus_core.__all__)


@pytest.mark.parametrize("error", sorted(subclasses(HandshakeError), key=str))
def test_an_error_carries_the_first_code_of_its_row_unless_told_otherwise(error: type[HandshakeError]) -> None:
    assert error("x").alert == ALERTS[error][0]
    if error is not PeerAborted:
        for own in (*ALERTS[error], 256, 65_535):
            assert error("x", alert=own).alert == own
        foreign = next(code for code in AlertCode if code not in ALERTS[error])
        for code in (foreign, 255, 65_536, -1):
            with pytest.raises(ValueError, match=f"does not belong to {error.__name__}"):
                error("x", alert=code)


def test_a_subclass_of_the_users_has_the_row_of_its_base() -> None:
    class QuotaExceeded(AuthenticationFailed):
        pass

    assert QuotaExceeded("x").alert == AlertCode.ACCESS_DENIED
    assert QuotaExceeded("x", alert=300).alert == 300
    with pytest.raises(ValueError, match="does not belong to QuotaExceeded"):
        QuotaExceeded("x", alert=AlertCode.BAD_FINISHED)


def test_the_text_of_an_error_says_where_what_and_why() -> None:
    error = InvalidMessage(
        "a message over the limit", expected="at most 1", received="2", hint="is it ours?", step="hello"
    )
    assert str(error) == "hello: a message over the limit; expected at most 1; got 2 (hint: is it ours?)"
    assert str(InvalidMessage("just this")) == "just this"
    assert (error.message, error.expected, error.received) == ("a message over the limit", "at most 1", "2")
    assert (error.hint, error.step) == ("is it ours?", "hello")


def test_what_can_be_tried_again() -> None:
    assert HandshakeTimeout("x").retryable
    assert not any(error("x").retryable for error in subclasses(HandshakeError) - {HandshakeTimeout, PeerAborted})
    retryable = {code for code in AlertCode if PeerAborted("x", code=code).retryable}
    assert retryable == {AlertCode.BUSY, AlertCode.TIMEOUT}
    assert PeerAborted("the stream ended").retryable


@pytest.mark.parametrize(
    ("seconds", "authenticated", "told"),
    [
        (None, False, None),
        (5, False, 5),
        (61, False, 60),
        (86_400, False, 60),
        (86_400, True, 86_400),
        (None, True, None),
    ],
)
def test_retry_after_is_capped_unless_it_was_authenticated(
    seconds: int | None, authenticated: bool, told: int | None
) -> None:
    error = PeerAborted.from_alert(AlertCode.BUSY, seconds, authenticated=authenticated)
    assert error.retry_after == told
    assert error.authenticated is authenticated
    assert ("not authenticated" in str(error)) is not authenticated
