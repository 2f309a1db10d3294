"""The recorded handshakes in which each kind of credential says who is there, by name. Refusals are in `refusals`."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from nautilus_core import (
    ANONYMOUS,
    Identities,
    Identity,
    PeerIdentified,
    Profile,
    ResolveIdentity,
    Role,
    SignatureNeeded,
    TrustPolicy,
    trust,
)
from nautilus_core.crypto.signatures import CERTIFIED_SCHEMES, SCHEMES
from nautilus_core.identity.multikey import encode_multikey

from .case import Case
from .certificates import BETWEEN, GATEWAY, ROOT, leaf
from .people import identity, private_key, psk
from .sides import initiator, responder

WEB: Final = "did:web:gateway.example"
NODES: Final = {"initiator": "node", "responder": "gateway"}
"""What the two call themselves in pre-shared keys."""


# ------------------------------------------------------------------ X.509


@cache
def certified(who: str, scheme: str = "ed25519", **wishes: Any) -> Identity:
    """A person with a certificate of the authority in between."""
    return Identity.with_certificates(private_key(who, scheme), [leaf(who, scheme, **wishes), BETWEEN.certificate])


@cache
def by_root(name: str | None = None) -> TrustPolicy:
    """Whom the root certifies, perhaps under a name."""
    return trust.authorities([ROOT.certificate], name=name)


def _x509(scheme: str) -> Case:
    return Case(
        f"both ends have certificates of one authority, for {scheme} keys",
        lambda: initiator(
            identity=certified("initiator", scheme, names=("node.example",)), trust=by_root("gateway.example")
        ),
        lambda: responder(identity=certified("responder", scheme), trust=by_root()),
    )


def _pinned_certificate() -> Case:
    gateway = private_key("responder", "ed25519")
    own = leaf("responder", names=())
    return Case(
        "a certificate whose key is pinned: its dates and names do not count",
        lambda: initiator(trust=trust.pinned(identity("responder").public, kinds=("x509",))),
        lambda: responder(identity=Identity.with_certificates(gateway, [own])),
    )


# ------------------------------------------------------------------ DIDs


def method(who: str, name: str = "#key-1", did: str = WEB, **fields: Any) -> dict[str, Any]:
    """A verification method with a person's key."""
    key = encode_multikey(identity(who).public)
    return {"id": did + name, "type": "Multikey", "controller": did, "publicKeyMultibase": key} | fields


def jwk(who: str) -> dict[str, Any]:
    """Likewise, as a JSON Web Key."""
    x = urlsafe_b64encode(identity(who).public.data).rstrip(b"=").decode()
    made = method(who, type="JsonWebKey", publicKeyJwk={"kty": "OKP", "crv": "Ed25519", "x": x})
    del made["publicKeyMultibase"]
    return made


def document(*methods: dict[str, Any], did: str = WEB, **fields: Any) -> dict[str, Any]:
    """A document all of whose keys stand under authentication."""
    context = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"]
    listed = [one["id"] for one in methods]
    return {"@context": context, "id": did, "verificationMethod": list(methods), "authentication": listed} | fields


def serving(found: dict[str, Any]) -> Callable[[Any], None]:
    """Answers `ResolveIdentity` with a document, in JSON."""

    def answer(question: Any) -> None:
        if isinstance(question, ResolveIdentity):
            question.answer(json.dumps(found).encode())

    return answer


def _did(what: str, mine: str | None, theirs: str | None, scheme: str = "ed25519", **options: Any) -> Case:
    one, other = identity("initiator", scheme).with_did(mine), identity("responder", scheme).with_did(theirs)
    return Case(
        what,
        lambda: initiator(identity=one, trust=trust.dids(_plain(other))),
        lambda: responder(identity=other, trust=trust.dids(_plain(one))),
        options=options,
    )


def _plain(one: Identity) -> str:
    return str(one.did).partition("#")[0]


def _peer_2(who: str) -> str:
    """A key for encryption, which does not count here, the key that does, and a service."""
    encryption = "z6LSg8zQom395jKLrGiBNruB9MM6V8PWuf2FpEy4uRFiqQBR"  # of the method's specification
    return f"did:peer:2.E{encryption}.V{encode_multikey(identity(who).public)}.SeyJ0IjoiZG0ifQ"


def _peer_0(who: str) -> str:
    return f"did:peer:0{encode_multikey(identity(who).public)}"


def _web(what: str, *methods: dict[str, Any], presents: str = WEB, secrets: bool = True, **fields: Any) -> Case:
    return Case(
        what,
        lambda: initiator(trust=trust.dids(WEB)),
        lambda: responder(identity=identity("responder").with_did(presents)),
        secrets=secrets,
        options={"answer": serving(document(*methods, **fields))},
    )


_DIDS: Final = {
    **{
        f"did-key-{scheme}": _did(f"both ends have a did:key, of {scheme} keys", None, None, scheme)
        for scheme in SCHEMES
    },
    "did-peer-0": _did("both ends have a did:peer of one key", _peer_0("initiator"), _peer_0("responder")),
    "did-peer-2": _did("both ends have a did:peer of several keys", _peer_2("initiator"), _peer_2("responder")),
    "did-web": _web("the initiator is given the document of the responder's did:web", method("responder")),
    "did-web-jwk": _web("its key is a JSON Web Key, beside another one", method("mallory", "#old"), jwk("responder")),
    "did-web-fragment": _web(
        "the responder says which of its keys signs, whose id is relative, and which expires",
        method("mallory", "#old"),
        method("responder", id="#key-1", expires="2026-12-31T00:00:00Z"),
        presents=f"{WEB}#key-1",
        authentication=["#old", "#key-1"],
    ),
    "did-web-of-initiator": Case(
        "the responder is given the document of the initiator's did:web",
        lambda: initiator(identity=identity("initiator").with_did(WEB)),
        lambda: responder(trust=trust.dids(methods=["web"])),
        options={"answer": serving(document(method("initiator")))},
    ),
}


# ------------------------------------------------------------------ pre-shared keys


def with_psks(side: Callable[..., Profile], *psks: Any, **options: Any) -> Profile:
    """A side that has these pre-shared keys."""
    name = "node" if side is initiator else "gateway"
    return side(**{"psks": psks, "psk_name": name, **options})


def _psk(what: str, mine: Any, theirs: Any, *, secrets: bool = True, use: Any = None, **both: Any) -> Case:
    mine_too, theirs_too = both.pop("initiator", {}), both.pop("responder", {})
    return Case(
        what,
        lambda: with_psks(initiator, *mine(), **both, **mine_too),
        lambda: with_psks(responder, *theirs(), **both, **theirs_too),
        secrets=secrets,
        use=use,
    )


def _office() -> tuple[Any, ...]:
    return (psk("office"),)


def _office_and_cellar() -> tuple[Any, ...]:
    return psk("cellar", "SHA384"), psk("office", "SHA384"), psk("office")


_NOBODY: Final[dict[str, Any]] = {"identity": ANONYMOUS, "trust": trust.psk()}
SUITES_OF_BOTH_HASHES: Final = ("X25519MLKEM768_AES256GCM_SHA384", "X25519_AES128GCM_SHA256")

_PSKS: Final = {
    "psk-alone": _psk("a pre-shared key, and nobody signs", _office, _office, **_NOBODY),
    "psk-beside-signatures": _psk("a pre-shared key, and both sign", _office, _office),
    "psk-beside-a-signature": _psk(
        "a pre-shared key, and the responder alone signs",
        _office,
        _office,
        initiator={"identity": ANONYMOUS},
        responder={"trust": trust.psk("office")},
    ),
    "psk-of-several": _psk(
        "the initiator offers three, for two hashes; the responder has the last two",
        _office_and_cellar,
        lambda: _office_and_cellar()[1:],
        suites=SUITES_OF_BOTH_HASHES,
        **_NOBODY,
    ),
    "psk-of-another-hash": _psk(
        "the pre-shared key that both have decides on the suite",
        _office_and_cellar,
        _office,
        suites=SUITES_OF_BOTH_HASHES,
        **_NOBODY,
    ),
    "psk-retry": _psk(
        "the initiator guessed the wrong group",
        _office,
        _office,
        initiator={"suites": ("X25519_AES128GCM_SHA256", "P256_AES128GCM_SHA256")},
        responder={"suites": ("P256_AES128GCM_SHA256",)},
    ),
}


# ------------------------------------------------------------------ mixed kinds


def _presents(who: str, kind: str) -> Any:
    raw = identity(who)
    return {"raw": raw, "x509": certified(who), "did": raw.with_did(), "anonymous": ANONYMOUS}[kind]


def _accepts(judge: str, kind: str) -> TrustPolicy:
    other = "responder" if judge == "initiator" else "initiator"
    return {
        "raw": lambda: trust.pinned(identity(other).public),
        "x509": lambda: by_root(GATEWAY if judge == "initiator" else None),
        "did": lambda: trust.dids(str(identity(other).with_did().did)),
        "anonymous": lambda: trust.anyone(anonymous=True),
    }[kind]()


def _mixed(mine: str, theirs: str, *, psk_too: bool) -> Case:
    office: dict[str, Any] = {"psks": _office()} if psk_too else {}

    def side(make: Callable[..., Profile], who: str, presents: str, accepts: str) -> Profile:
        more = {**office, "psk_name": NODES[who]} if office else {}
        return make(identity=_presents(who, presents), trust=_accepts(who, accepts), **more)

    return Case(
        f"the initiator presents {mine}, the responder {theirs}" + (", with a pre-shared key" if psk_too else ""),
        lambda: side(initiator, "initiator", mine, theirs),
        lambda: side(responder, "responder", theirs, mine),
    )


def _mixtures() -> Iterator[tuple[str, Case]]:
    kinds = ("raw", "x509", "did", "anonymous")
    for number, mine in enumerate(kinds):
        for theirs in kinds:
            if mine != theirs:
                yield f"mixed-{mine}-{theirs}", _mixed(mine, theirs, psk_too=number % 2 == 1)


_EITHER: Final = {
    "mixed-either": Case(
        "the initiator takes a certificate or a pinned key, the responder a DID or a certificate",
        lambda: initiator(
            identity=certified("initiator"),
            trust=trust.any_of(by_root(GATEWAY), trust.pinned(identity("responder").public)),
        ),
        lambda: responder(trust=trust.any_of(trust.dids(methods=["key"]), by_root())),
    ),
}


# ------------------------------------------------------------------ targets, signatures from elsewhere


def _several() -> Identities:
    return Identities(
        identity("mallory"),
        {GATEWAY: certified("responder"), "raw.example": identity("responder")},
        refuse_unknown=True,
    )


def _target(target: str, policy: Callable[[], TrustPolicy]) -> Case:
    return Case(
        f"the initiator wants {target}, which is one of three who are there",
        lambda: initiator(target=target, trust=policy()),
        lambda: responder(identity=_several()),
    )


def signed_elsewhere(question: Any) -> None:
    """What whoever keeps the keys answers; and everybody is welcome."""
    if isinstance(question, SignatureNeeded):
        who = next(role.value for role in Role if identity(role.value).public == question.public_key)
        question.answer(identity(who).sign(question.content))
    elif isinstance(question, PeerIdentified):
        question.accept()


def delegated(who: str) -> Identity:
    """A person whose private key lives elsewhere."""
    return Identity.delegated(identity(who).public)


_OTHERS: Final = {
    "target-certificate": _target(GATEWAY, lambda: by_root(GATEWAY)),
    "target-raw-public-key": _target("raw.example", lambda: trust.pinned(identity("responder").public)),
    "target-default": Case(
        "the initiator wants somebody who is not there, and gets the default",
        lambda: initiator(target="nobody.example"),
        lambda: responder(identity=Identities(identity("responder"), {GATEWAY: identity("mallory")})),
    ),
    "delegated-both": Case(
        "the private keys of both ends live elsewhere",
        lambda: initiator(identity=delegated("initiator")),
        lambda: responder(identity=delegated("responder"), trust=trust.ask()),
        options={"answer": signed_elsewhere},
    ),
    "delegated-did": Case(
        "likewise of who presents a DID",
        lambda: initiator(trust=trust.dids(methods=["key"])),
        lambda: responder(identity=delegated("responder").with_did()),
        options={"answer": signed_elsewhere},
    ),
}


# ------------------------------------------------------------------ without secrets

_PUBLIC: Final = {
    "public-x509": Case(
        "no secrets: certificates",
        lambda: initiator(identity=certified("initiator"), trust=by_root(GATEWAY)),
        lambda: responder(identity=certified("responder"), trust=by_root()),
        secrets=False,
    ),
    "public-did-web": _web("no secrets: a document was looked up", method("responder"), secrets=False),
    "public-psk": _psk("no secrets: a pre-shared key", _office, _office, secrets=False),
}

CREDENTIALS: Final[dict[str, Case]] = {
    **{f"x509-{scheme}": _x509(scheme) for scheme in CERTIFIED_SCHEMES},
    "x509-pinned": _pinned_certificate(),
    **_DIDS,
    **_PSKS,
    **dict(_mixtures()),
    **_EITHER,
    **_OTHERS,
    **_PUBLIC,
}
