"""Whatever fails in whatever order, empty servers never have a majority by themselves."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from atoll.compute.sparkmaster import MasterHealth, parse
from atoll.core.errors import Conflict, Corrupt
from atoll.fleet.engine.ensemble import Ensemble, admit_empty
from atoll.fleet.engine.zookeeper_probe import parse_srvr

# (server, what happens): its disk is lost; it asks to vote; it has joined and holds the data.
EVENTS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["lost", "asks", "joins"])))


@given(size=st.sampled_from([1, 3, 5]), events=EVENTS)
def test_voters_without_data_are_always_fewer_than_a_quorum(size, events):
    members = frozenset(range(size))
    holding, empty_voters = set(members), set()
    for server, what in ((number % size, what) for number, what in events):
        if what == "lost":
            holding.discard(server)
            empty_voters.discard(server)
        elif what == "asks" and server not in holding:
            empty_voters |= admitted(server, members, holding, empty_voters)
        elif what == "joins" and server in empty_voters and holding:
            empty_voters.discard(server)
            holding.add(server)
        assert len(empty_voters) <= size // 2


def admitted(server, members, holding, empty_voters):
    try:
        admit_empty(server, Ensemble(members, frozenset(holding), frozenset(empty_voters)))
    except Conflict:
        return set()
    return {server}


TEXTS = st.text() | st.text().map("Mode: leader\nZxid: 0x1\n".__add__)
PAGES = st.binary() | st.binary().map(b"HTTP/1.1 200 OK\r\n\r\n".__add__)


@given(TEXTS, PAGES)
def test_any_answer_is_a_health_or_corrupt(text, page):
    # Anything else that is raised fails this.
    with suppress(Corrupt):
        parse_srvr(text)
    with suppress(Corrupt):
        parse(page, MasterHealth)
