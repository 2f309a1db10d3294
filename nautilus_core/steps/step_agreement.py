"""Which steps run: the two lists of a hello and its response, compared. How they travel is the matter of `hello`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec import Meta

from ..errors import AlertCode, NegotiationFailed
from ..step import StepDescription
from .fields import check_distinct, check_lengths, listed

if TYPE_CHECKING:
    from ..steplist import Outline

StepDescriptions: TypeAlias = Annotated[tuple[StepDescription, ...], Meta(max_length=256)]

SAME_PROFILE: Final = "both ends must be made from the same profile, or the step be optional"
_FOR_EVER: Final = "each end would wait for the other for ever"


def mismatch(message: str, *, expected: str, received: str, hint: str | None = None) -> NegotiationFailed:
    """Two lists of steps that do not fit together."""
    return NegotiationFailed(
        message, expected=expected, received=received, hint=hint, alert=AlertCode.STEP_LIST_MISMATCH
    )


def agree_on_steps(outline: Outline, offered: StepDescriptions, protocol: str | None) -> StepDescriptions:
    """On the responder: which of its steps run, given the initiator's: those that both have and that fit the protocol.

    Raises:
        NegotiationFailed: naming the first step that differs in sender or order, or that one side requires and the other
            does not have.
    """
    own = outline.negotiable
    if own == offered and not outline.bound:
        return own
    _check_names(offered)
    remaining = {offer.name: offer for offer in offered}
    running: list[StepDescription] = []
    for step in own:
        offer = remaining.pop(step.name, None)
        if offer is not None:
            _check_sender(step, offer)
            if _fits(step, protocol) and _fits(offer, protocol):
                running.append(step)
            elif step.required or offer.required:
                raise mismatch(
                    f"the required step {step.name!r} does not fit the negotiated protocol",
                    expected=repr(step.protocol_id or offer.protocol_id),
                    received=repr(protocol),
                )
        elif step.required:
            raise mismatch(
                f"the peer has no step {step.name!r}, which is required here",
                expected=f"{step.name!r} from the {step.sender.value}",
                received=listed([other.name for other in offered], 32),
                hint=SAME_PROFILE,
            )
    for offer in remaining.values():
        if offer.required:
            raise mismatch(
                f"the peer requires the step {offer.name!r}, which is not known here",
                expected=listed([step.name for step in own], 32),
                received=f"{offer.name!r} from the {offer.sender.value}",
                hint=SAME_PROFILE,
            )
    names = {step.name for step in running}
    _check_order([step.name for step in running], [offer.name for offer in offered if offer.name in names])
    return tuple(running)


def check_selected_steps(outline: Outline, selected: StepDescriptions, protocol: str | None) -> None:
    """On the initiator: every selected step is one of ours, with that sender, in our order, fitting the protocol.

    Raises:
        NegotiationFailed: naming the first difference, or a required step that was not selected.
    """
    own = outline.negotiable
    if own == selected and not outline.bound:
        return
    _check_names(selected)
    mine = {step.name: step for step in own}
    for offer in selected:
        step = mine.get(offer.name)
        if step is None:
            raise mismatch(
                f"the responder selected the step {offer.name!r}, which was not offered",
                expected=listed(list(mine), 32),
                received=repr(offer.name),
            )
        _check_sender(step, offer)
        if not _fits(step, protocol):
            raise mismatch(
                f"the responder selected the step {offer.name!r}, which does not fit the protocol",
                expected=f"the protocol {step.protocol_id!r}",
                received=repr(protocol),
            )
    chosen = [offer.name for offer in selected]
    names = set(chosen)
    _check_order([step.name for step in own if step.name in names], chosen)
    for step in own:
        if step.required and step.name not in names:
            raise mismatch(
                f"the responder will not run the required step {step.name!r}",
                expected=repr(step.name),
                received=listed(chosen, 32),
                hint=SAME_PROFILE,
            )


def _check_names(steps: StepDescriptions) -> None:
    names = [step.name for step in steps]
    check_distinct(names, "steps")
    check_lengths([*names, *(step.protocol_id for step in steps if step.protocol_id is not None)])


def _fits(step: StepDescription, protocol: str | None) -> bool:
    return step.protocol_id is None or step.protocol_id == protocol


def _check_sender(step: StepDescription, offer: StepDescription) -> None:
    if step.sender is not offer.sender:
        raise mismatch(
            f"the two ends disagree on who sends {step.name!r}",
            expected=f"the {step.sender.value}",
            received=f"the {offer.sender.value}",
            hint=_FOR_EVER,
        )


def _check_order(own: Sequence[str], theirs: Sequence[str]) -> None:
    for mine, other in zip(own, theirs, strict=True):
        if mine != other:
            raise mismatch(
                "the two ends have the same steps in different orders",
                expected=repr(mine),
                received=repr(other),
                hint=_FOR_EVER,
            )
