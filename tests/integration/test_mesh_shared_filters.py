"""Filters of assets: owners make them, subscriptions read through them, consumers choose."""

from functools import partial

import pytest
from mesh_sharing import AS_IS, COLUMNS, LINE_A, technical

from atoll.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from atoll.mesh.harvest.model import Column
from atoll.mesh.model.access import SubscriptionStatus
from atoll.mesh.model.catalog import ColumnMetadata, FilterStatus, ListingStatus
from atoll.mesh.service.assets import changed_asset
from atoll.mesh.service.filters import MOST_OF_ASSET


def made(shop, name="as it is", who="bob", **configuration):
    given = {"name": name, "configuration": configuration or AS_IS}
    return shop.mesh.ask(who, "CreateAssetFilter", asset_id=shop.asset.id, **given)


def changed_columns(shop, *columns):
    """Let the asset be read anew, with other columns."""
    asset, found = shop.seen(shop.asset), technical("torque", columns)
    work = partial(changed_asset, asset=asset, technical=found)
    shop.mesh.attendant.act("Harvest", "test", work)


def offered(shop, who="cy"):
    return shop.mesh.ask(who, "ListListingFilters", listing_id=shop.listing.id)["items"]


def test_42_an_owner_names_rows_and_columns_and_nobody_else_does(shop):
    one = made(shop, **AS_IS, **LINE_A, columnMasks={"torque": {"kind": "null"}})
    assert (one.status, one.asset_id) == (FilterStatus.VALID, shop.asset.id)
    assert one.definition["columnTypes"] == {"line": "string", "torque": "double"}
    assert shop.mesh.ask("bob", "GetAssetFilter", asset_filter_id=one.id) == one
    for who, name in (("cy", "CreateAssetFilter"), ("dee", "CreateAssetFilter")):
        given = {"asset_id": shop.asset.id, "name": "mine", "configuration": AS_IS}
        assert isinstance(shop.mesh.refusal(who, name, **given), NotFound)
    assert isinstance(shop.mesh.refusal("cy", "GetAssetFilter", asset_filter_id=one.id), NotFound)
    refused = shop.mesh.refusal("ann", "DeleteAssetFilter", asset_filter_id=one.id)
    assert isinstance(refused, Forbidden)


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"columnConfiguration": {"includedColumnNames": ["salary"]}}, "no column 'salary'"),
        ({"columnConfiguration": {"includedColumnNames": []}}, "1 to"),
        ({"columnMasks": {"torque": {"kind": "redact"}}}, "cannot be masked"),
        ({"rowConfiguration": {"rowFilter": "line='A' OR 1=1"}}, "rowFilter"),
        ({"sql": "1=1"}, "unknown key"),
        ({"rowConfiguration": {"rowFilter": {"and": [{}] * 5000}}}, ""),
    ],
    ids=["no column", "none", "mask", "text", "key", "large"],
)
def test_42_what_does_not_fit_the_table_is_no_filter(shop, configuration, told):
    given = {"asset_id": shop.asset.id, "name": "bad", "configuration": configuration}
    refused = shop.mesh.refusal("bob", "CreateAssetFilter", **given)
    assert isinstance(refused, InvalidInput)
    assert told in refused.message


def test_42_a_filter_without_columns_has_those_that_are_there_now_and_no_later_one(shop):
    one = shop.mesh.ask("bob", "CreateAssetFilter", asset_id=shop.asset.id, name="all")
    changed_columns(shop, *COLUMNS, Column("salary", "int64", True))
    [found] = shop.mesh.ask("bob", "ListAssetFilters", asset_id=shop.asset.id)["items"]
    assert (found, found.status) == (one, FilterStatus.VALID)
    assert "salary" not in found.definition["columnTypes"]


def test_42_an_asset_that_was_not_read_yet_has_no_filters(shop):
    shop.put(shop.asset, technical=None)
    given = {"asset_id": shop.asset.id, "name": "x", "configuration": AS_IS}
    assert isinstance(shop.mesh.refusal("bob", "CreateAssetFilter", **given), Conflict)


def test_42_a_name_is_one_filters_and_there_are_only_so_many(shop):
    first = made(shop)
    given = {"asset_id": shop.asset.id, "name": first.name, "configuration": AS_IS}
    assert isinstance(shop.mesh.refusal("bob", "CreateAssetFilter", **given), Conflict)
    second = made(shop, "another")
    renamed = {"asset_filter_id": second.id, "name": first.name}
    assert isinstance(shop.mesh.refusal("bob", "UpdateAssetFilter", **renamed), Conflict)
    for number in range(2, MOST_OF_ASSET):
        made(shop, f"f{number}")
    given["name"] = "one more"
    assert isinstance(shop.mesh.refusal("bob", "CreateAssetFilter", **given), Conflict)


def test_42_a_changed_filter_is_renamed_or_made_anew_and_the_audit_has_both(shop):
    one = made(shop)
    given = {"asset_filter_id": one.id, "name": "torque", "description": "per line"}
    renamed = shop.mesh.ask("bob", "UpdateAssetFilter", **given)
    assert renamed.definition == one.definition | {"name": "torque", "description": "per line"}
    given = {"asset_filter_id": one.id, "configuration": LINE_A}
    anew = shop.mesh.ask("bob", "UpdateAssetFilter", **given)
    assert "rowConfiguration" in anew.definition["configuration"]
    told = shop.noted("UpdateAssetFilter")[-1].details
    assert '"before"' in told
    assert '"after"' in told


def test_42_whatever_columns_are_called_and_conditions_are_nested_the_audit_takes_it(shop):
    one = made(shop)
    shop.put(shop.asset, technical=technical("torque", (Column("password", "string", True),)))
    tree = {"expression": {"isNull": {"columnName": "password"}}}
    for _ in range(10):
        tree = {"and": [tree, tree]} if _ < 5 else {"or": [tree]}
    configuration = {"rowConfiguration": {"rowFilter": tree}}
    given = {"asset_filter_id": one.id, "configuration": configuration}
    assert shop.mesh.ask("bob", "UpdateAssetFilter", **given).status is FilterStatus.VALID


def test_42_a_filter_that_is_read_through_is_not_removed(shop):
    one = made(shop)
    held = shop.subscribed(filter_ids=(one.id,))
    refused = shop.mesh.refusal("bob", "DeleteAssetFilter", asset_filter_id=one.id)
    assert isinstance(refused, Conflict)
    shop.put(held, status=SubscriptionStatus.CANCELLED)
    shop.mesh.ask("bob", "DeleteAssetFilter", asset_filter_id=one.id)
    assert shop.seen(one) is None


def test_42_a_filter_that_fits_no_more_is_invalid_until_it_fits_again_and_its_readers_are_told(
    shop,
):
    one = made(shop)
    held = shop.subscribed(filter_ids=(one.id,))
    line, worker, _ = COLUMNS
    changed_columns(shop, line, worker, Column("torque", "string", True))
    found = shop.seen(one)
    assert found.status is FilterStatus.INVALID
    assert "torque" in found.error_message
    [told] = shop.noted("InvalidateAssetFilter")
    assert (told.asset_id, held.id in told.details) == (shop.asset.id, True)
    assert offered(shop) == []
    changed_columns(shop, *COLUMNS)
    assert (shop.seen(one).status, shop.seen(one).error_message) == (FilterStatus.VALID, "")
    changed_columns(shop, *COLUMNS)
    assert len(shop.noted("RevalidateAssetFilter")) == 1


def test_42_consumers_see_what_they_may_choose_and_not_what_is_sensitive(shop):
    made(shop, "open", **AS_IS, **LINE_A, columnMasks={"torque": {"kind": "round", "step": 5}})
    secret = {"rowConfiguration": {**LINE_A["rowConfiguration"], "sensitive": True}}
    made(shop, "secret", **AS_IS, **secret)
    by_name = {"expression": {"equalTo": {"columnName": "worker", "value": "Ida"}}}
    made(shop, "personal", **AS_IS, rowConfiguration={"rowFilter": by_name})
    found = {one.name: one for one in offered(shop)}
    assert found["open"].row_filter == LINE_A["rowConfiguration"]["rowFilter"]
    assert (found["open"].columns, found["open"].masks) == (("line", "torque"), {"torque": "round"})
    for name in ("secret", "personal"):
        assert (found[name].row_filter, found[name].has_row_filter) == (None, True)


def test_42_filters_of_all_assets_of_a_data_product_are_offered(shop):
    other, _ = shop.listed("speed")
    product = shop.offered_together("torque", "speed")
    made(shop)
    given = {"asset_id": other.id, "name": "fast", "configuration": AS_IS}
    shop.mesh.ask("bob", "CreateAssetFilter", **given)
    found = shop.mesh.ask("cy", "ListListingFilters", listing_id=product.id)["items"]
    assert {(one.asset_id, one.name) for one in found} == {
        (shop.asset.id, "as it is"),
        (other.id, "fast"),
    }


def test_42_a_column_found_personal_later_hides_the_values_that_it_is_compared_with(shop):
    made(shop, "open", **AS_IS, **LINE_A)
    flag = shop.asset.columns[0].pii
    shop.put(shop.asset, columns=(ColumnMetadata("line", pii=flag),))
    assert offered(shop)[0].row_filter is None


def test_42_filters_of_what_is_not_published_are_not_heard_of(shop):
    changed_columns(shop, *COLUMNS, Column("salary", "int64", True))
    made(shop, "draft", columnConfiguration={"includedColumnNames": ["salary"]})
    assert offered(shop) == []
    refused = shop.mesh.refusal("dee", "ListListingFilters", listing_id=shop.listing.id)
    assert isinstance(refused, NotFound)
    shop.put(shop.listing, status=ListingStatus.INACTIVE)
    refused = shop.mesh.refusal("cy", "ListListingFilters", listing_id=shop.listing.id)
    assert isinstance(refused, NotFound)
