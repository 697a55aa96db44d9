"""Chains of audit events for tests."""

import hashlib
import hmac
import json

from hypothesis import strategies as st

from atoll.mesh.audit.anchors import Anchor
from atoll.mesh.audit.chain import extend, head_after, rotation
from atoll.mesh.audit.keys import Key
from atoll.mesh.audit.model import GENESIS, new_event

KEY, NEXT_KEY, STRANGE_KEY = (Key(bytes([number]) * 32) for number in (1, 2, 3))
START_US = 1_700_000_000_000_000


def event(operation="GetAsset", outcome="ALLOWED", **given):
    """An event that is not sealed yet."""
    fields = {
        "principal": "user-1",
        "via": "session-1",
        "resource_kind": "asset",
        "resource_id": "asset-1",
    }
    return new_event(operation, outcome, **fields | given)


def chain_of(count, key=KEY):
    """A chain of that many events, a second apart."""
    made, head = [], GENESIS
    for number in range(count):
        sealed, head = extend(
            head, [event(details={"n": number})], START_US + number * 1_000_000, key
        )
        made += sealed
    return made


def rotated_chain():
    """Two events with one key, the rotation, and two with the next."""
    made = chain_of(2)
    made.append(
        rotation(head_after(made[-1]), KEY, NEXT_KEY, START_US, principal="admin", via="session-9")
    )
    more, _ = extend(head_after(made[-1]), [event(), event()], START_US, NEXT_KEY)
    return made + more


def signed(key, values):
    """An HMAC of JSON, both by the standard library alone."""
    data = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return hmac.new(key.secret, data, hashlib.sha256).hexdigest()


def anchor_of(one, key=KEY):
    """The anchor of an event, as `put_anchor` makes it."""
    head = head_after(one)
    values = ["atoll.audit.anchor/1", head.seq, head.at, head.key_id, head.hash]
    return Anchor(head, signed(key, values))


def texts(least=0):
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
        min_size=least,
        max_size=6,
    )


def json_values():
    plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts()
    plain |= st.floats(allow_nan=False, allow_infinity=False)
    names = st.sampled_from(["a", "b", "é", "rows", "A.b"])
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    )


def events():
    """Any events that are not sealed yet."""
    return st.builds(
        new_event,
        texts(1),
        st.sampled_from(["ALLOWED", "DENIED", "FAILED"]),
        principal=texts(1),
        via=texts(1),
        resource_kind=texts(1),
        resource_id=texts(),
        project=st.none() | texts(1),
        asset_id=st.none() | texts(1),
        details=st.dictionaries(st.sampled_from(["a", "b", "rows"]), json_values(), max_size=3),
        policies=st.lists(texts(1), max_size=3),
    )


POOL = [
    event(),
    event("Größe\n", "DENIED", principal='"', via='",', resource_id="", project="p" * 40),
    event(details={"rows": 3, "é": [None, 1.5, True, {"a": "\x01"}]}, policies=["p1", "p2"]),
    event("Search", "FAILED", asset_id="asset-2", policies=["p,q"]),
]


@st.composite
def chains(draw, least=1, most=6):
    """Short chains of odd events, each with a clock of its own."""
    made, head = [], GENESIS
    for one in draw(st.lists(st.sampled_from(POOL), min_size=least, max_size=most)):
        sealed, head = extend(head, [one], draw(st.integers(-5, 2**60)), KEY)
        made += sealed
    return made
