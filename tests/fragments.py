"""What stands around those pieces of the documents that are no whole programs: what they use, and what must come of them.

A piece is known by words in it. It runs between what makes its names and what looks at the outcome; pieces with `await` run
inside an async function, beside a listener where they call one.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent

CORE = """\
from nautilus_core import *
from nautilus_core.testing import Pair
alice, bob = Identity.generate(), Identity.generate()
def mine(**more):
    return profiles.nautilus(identity=alice, trust=trust.pinned(bob.public), **more)
def theirs(**more):
    return profiles.nautilus(identity=bob, trust=trust.pinned(alice.public), **more)
"""

BINDING = (
    CORE
    + """\
import anyio
from anyio.abc import SocketAttribute
from nautilus_anyio import *
async def handler(stream):
    async for data in stream:
        await stream.send(data)
async def beside_a_listener(fragment):
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(serve, listener, handler, theirs())
        await fragment("127.0.0.1", listener.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()
"""
)


@dataclass(frozen=True)
class Fragment:
    """A piece of a document.

    Attributes:
        document: where it stands.
        words: which one it is.
        before: makes what it uses.
        after: looks at what came of it, and prints.
        expected: what is printed, as a regular expression.
        replaced: words that stand for what is different each time, and what stands there in a test.
    """

    document: str
    words: str
    before: str
    after: str
    expected: str
    replaced: tuple[tuple[str, str], ...] = ()

    def program(self, text: str) -> str:
        """The whole: `text` between what it needs and what looks at it."""
        for old, new in self.replaced:
            if text.count(old) != 1:
                raise ValueError(f"{old!r} stands {text.count(old)} times in {self.words!r} of {self.document}")
            text = text.replace(old, new)
        if "\nasync with" not in f"\n{text}" and " = await " not in text:
            return f"{self.before}\n{text}\n{self.after}"
        inside = indent(f"{text}\n{self.after}", "    ")
        return f"{self.before}\nasync def fragment(host, port):\n{inside}\nanyio.run(beside_a_listener, fragment)"


X509 = (
    CORE
    + """\
import trustme
from datetime import UTC, datetime
authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
roots = authority.cert_pem.bytes()
made = authority.issue_cert("gateway.example", key_type=trustme.KeyType.ECDSA)
key, chain = made.private_key_pem.bytes(), b"".join(pem.bytes() for pem in made.cert_chain_pems)
key_and_chain = key + chain
node = Identity.from_pem(authority.issue_cert("node.example").private_key_and_cert_chain_pem.bytes())
def shake_hands(ours, theirs):
    now = datetime.now(UTC)
    ends = Handshake(INITIATOR, ours, wall_time=now), Handshake(RESPONDER, theirs, wall_time=now)
    return Pair(*ends).run().initiator.session
session = shake_hands(
    profiles.nautilus(identity=node, trust=trust.authorities(roots, name="gateway.example")),
    profiles.nautilus(identity=Identity.from_pem(key_and_chain), trust=trust.authorities(roots)),
)
"""
)

FRAGMENTS = (
    Fragment(
        "docs/guide.md",
        "engine = Handshake(INITIATOR, profile)",
        CORE
        + """\
profile, there = mine(), Handshake(RESPONDER, theirs())
def send(data):
    if data:
        there.receive_data(data)
def receive():
    while there.next_event() is not NEED_DATA:
        pass
    return there.data_to_send()
""",
        "print(session.peer.peer_id == bob.peer_id)",
        "True\n",
    ),
    Fragment(
        "docs/guide.md",
        "ask_the_user",
        CORE
        + """\
import asyncio
asked = []
class NewTenant(Question[int], frozen=True, kw_only=True):
    tenant: str
def read(context, message):
    context.publish((yield from context.ask(NewTenant(tenant=message.decode()))))
def tenant():
    return CustomProtocolStep("tenant", INITIATOR, write=lambda context: b"acme", read=read)
async def quota_of(tenant):
    return len(tenant)
async def ask_the_user(text):
    asked.append(text)
    return len(asked) == 1
""",
        """\
theirs = profiles.nautilus(identity=bob, trust=trust.ask())
profiles = [profile.insert_before("initiator-finished", tenant) for profile in (mine(), theirs)]
ends = [Pair(*profiles, answer=lambda question: asyncio.run(answer(question))).run().responder for _ in range(2)]
print(ends[0].session.results["tenant"], ends[1].error)
""",
        r"4 initiator-authentication: refused by the application: the user does not know it\n",
    ),
    Fragment(
        "docs/guide.md",
        'me.to_pem(b"passphrase")',
        CORE,
        "print(len(me.peer_id), len(me.public.words.split()))",
        "56 16\n",
    ),
    Fragment(
        "docs/guide.md",
        "session.channel_binding",
        CORE + "session = Pair(mine(datagrams=True), theirs(datagrams=True)).run().initiator.session",
        'print(type(channel).__name__, type(datagrams).__name__, len(session.export("my-app key", b"context", 32)))',
        "SecureChannel DatagramChannel 32\n",
    ),
    Fragment(
        "docs/credentials.md",
        "key_and_chain",
        X509,
        "print(shake_hands(ours, theirs).peer.names, session.revalidate(datetime.now(UTC)))",
        r"\('gateway.example',\) None\n",
    ),
    Fragment(
        "docs/credentials.md",
        "with_did()",
        CORE
        + """\
node = profiles.nautilus(identity=alice.with_did(), trust=trust.dids(methods=["key"]))
session = Pair(node, profiles.nautilus(identity=bob.with_did(), trust=trust.dids(methods=["key"]))).run().initiator.session
""",
        "print(me.did[:11], session.peer.identifier == bob.with_did().did)",
        "did:key:z6M True\n",
        (('"did:key:z6Mk...")', "me.did)"),),
    ),
    Fragment(
        "docs/credentials.md",
        "ByMethod",
        BINDING + "profile = mine()\nclass MyResolver:\n    async def resolve(self, did): ...",
        "async with stream:\n    print(stream.session.peer.peer_id == bob.peer_id)",
        "True\n",
    ),
    Fragment(
        "docs/credentials.md",
        "psk_name",
        CORE
        + """\
import secrets
class session:
    psk = None
""",
        "print(Pair(laptop, office).run().initiator.session.psk)",
        "office-1\n",
    ),
    Fragment(
        "docs/credentials.md",
        "Identities(default",
        CORE + "default, vault, shop, me = [Identity.generate() for _ in range(4)]",
        "print(Pair(who_dials, who_listens).run().initiator.session.peer.peer_id == vault.peer_id)",
        "True\n",
    ),
    Fragment(
        "docs/binding.md",
        'connect("gateway.example"',
        BINDING + "profile = mine()",
        "    print(await stream.receive())",
        "b'hello'\n",
        (('"gateway.example", 7000', "host, port"),),
    ),
    Fragment(
        "docs/binding.md",
        "on_error=print",
        BINDING
        + """\
profile = theirs()
port = 7000
async def call_and_close(listener):
    port = listener.extra(SocketAttribute.local_port)
    async with await connect("127.0.0.1", port, mine()) as stream:
        await stream.send(b"hello")
        print(await stream.receive())
    try:
        await connect("127.0.0.1", port, profiles.nautilus(identity=Identity.generate(), trust=trust.anyone()))
    except HandshakeError:
        pass
    await listener.aclose(grace=1)
""",
        "",
        r"b'hello'\nhandshake with key:\w+ at 127.0.0.1 port \d+ failed: initiator-authentication: the peer's key is not .*\n",
        (
            ("local_port=7000", 'local_host="127.0.0.1"'),
            (
                "    await listener.serve(handler)",
                """\
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call_and_close, listener)
        await listener.serve(handler)""",
            ),
        ),
    ),
    Fragment(
        "docs/binding.md",
        "acme/known_peers",
        BINDING
        + """\
from pathlib import Path
""",
        """\
node = profiles.nautilus(identity=alice, trust=policy)
pair = Pair(node, theirs(), answer=lambda question: question.accept()).run()
print(pair.initiator.session.peer.peer_id == bob.peer_id, store.where("gateway.example:7000")[-6:])
""",
        "True line 3\n",
    ),
)
