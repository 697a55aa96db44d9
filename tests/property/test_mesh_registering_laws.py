"""Laws of what becomes an asset: none inside another, names that can be kept, flags that stay."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.records import converted
from atoll.mesh.harvest import Column, Fingerprint, Technical
from atoll.mesh.harvest.locations import lies_in
from atoll.mesh.model.catalog import ColumnMetadata, PiiFlag, PiiStatus
from atoll.mesh.model.record import Name
from atoll.mesh.pii import Kind, Proposal
from atoll.mesh.service.grounds import overlapping
from atoll.mesh.service.harvested import _columns, name_of

parts = st.lists(st.sampled_from(["a", "b", "a-", "a.b", "B"]), min_size=1, max_size=4)
places = parts.map(lambda found: "s3://plant/" + "/".join(found))


@given(st.lists(places, unique=True), places)
def test_17_what_overlaps_is_found_and_nothing_else(taken, place):
    found = overlapping(sorted(taken), place)
    inside = [one for one in taken if one.startswith(f"{place}/")]
    around = [one for one in taken if place.startswith(f"{one}/")]
    assert bool(found) == bool(inside or around)
    assert not found or found in (*inside, *around)


@given(places, places)
def test_a_location_holds_itself_and_what_is_below(location, place):
    steps = zip(location.split("/"), place.split("/"), strict=False)
    is_longer = len(place.split("/")) >= len(location.split("/"))
    assert lies_in(place, location) == (is_longer and all(one == other for one, other in steps))


@given(st.text(), st.sampled_from(["file:///lake/", "s3://plant/"]))
def test_13_every_place_gives_a_name_that_can_be_kept(last, root):
    assert converted(name_of(f"{root}{last}"), Name)


names = st.sets(st.sampled_from("abcd"))


@given(names, names, names, st.sampled_from(PiiStatus))
def test_40_a_flag_that_is_there_stays_and_only_columns_that_are_there_get_one(
    there, flagged, proposed, status
):
    before = {name: ColumnMetadata(name, pii=PiiFlag("email", status)) for name in flagged}
    proposals = [Proposal(name, Kind.PHONE, 0.9, "") for name in proposed]
    columns = tuple(Column(name, "string", True) for name in sorted(there))
    table = Technical(
        "table", "csv", "s3://x/y", columns, (), 0, None, 0, 1, "1", Fingerprint(None, None)
    )
    found = {one.name: one.pii for one in _columns(table, before, proposals)}
    assert found.keys() == there & (flagged | proposed)
    for name, flag in found.items():
        assert flag.status is (status if name in flagged else PiiStatus.PROPOSED)
