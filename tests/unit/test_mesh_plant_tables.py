"""What the tables of a made-up plant promise: keys that join, counted dirt, personal data."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from mesh_plant import recipes, rows_of

from atoll.core.errors import InvalidInput
from atoll.mesh.pii import Column, Kind, checks, propose
from atoll.mesh.plant.keys import vins
from atoll.mesh.plant.lookalikes import MODES
from atoll.mesh.plant.model import Plant

RECIPES = recipes()
TABLES = {name: rows_of(recipe) for name, recipe in RECIPES.items()}


def before(first, second):
    return lambda table: pc.less(table[first], table[second])


def below_zero(column):
    return lambda table: pc.less(table[column], 0)


def is_null(column):
    return lambda table: table[column].is_null()


def unknown(column, other, key):
    return lambda table: pc.invert(pc.is_in(table[column], TABLES[other][key].combine_chunks()))


def wrong_iban(table):
    return pa.array([not checks.is_iban(iban) for iban in table["IBAN"].to_pylist()])


def without_mode(table):
    has_mode = sum(table[mode].to_numpy() for mode in MODES) > 0
    return pa.array((table["Machine failure"].to_numpy() == 1) & ~has_mode)


# How to find each kind of dirt, written anew from its description.
FINDERS = {
    ("orders", "ends before it begins"): before("GLTRI", "GSTRP"),
    ("order_items", "unknown material"): unknown("MATNR", "materials", "MATNR"),
    ("materials", "heavier without packing"): before("BRGEW", "NTGEW"),
    ("suppliers", "wrong check digits"): wrong_iban,
    ("suppliers", "no telephone"): is_null("TELF1"),
    ("workers", "not born yet"): lambda t: pc.greater(pc.year(t["GBDAT"]), 2030),
    ("workers", "no telephone"): is_null("TELNR"),
    ("vehicles", "done before it began"): before("completed_at", "body_begun_at"),
    ("operations", "ended before it began"): before("ended_at", "started_at"),
    ("operations", "unknown worker"): unknown("worker_id", "workers", "PERNR"),
    ("welds", "negative peak"): below_zero("max_torque_nm"),
    ("welds", "no curve"): lambda t: pc.equal(pc.list_value_length(t["torque_curve_nm"]), 0),
    ("quality_tests", "passed beyond its limits"): lambda t: pc.and_(
        t["passed"], pc.greater(t["measured"], t["upper_limit"])
    ),
    ("quality_tests", "nobody inspected"): is_null("inspector"),
    ("rework", "negative hours"): below_zero("hours"),
    ("sensors", "spike"): lambda t: pc.equal(t["temperature_c"], 9999.0),
    ("sensors", "no pressure"): is_null("pressure_bar"),
    ("alarms", "cleared before raised"): before("cleared_at", "raised_at"),
    ("deliveries", "negative quantity"): below_zero("quantity"),
    ("deliveries", "unloaded before it arrived"): before("unloaded_at", "arrived_at"),
    ("shifts", "overlaps the next"): lambda t: pc.greater(
        pc.seconds_between(t["planned_start"], t["planned_end"]), 8 * 3600
    ),
    ("invoices", "gross is wrong"): lambda t: pc.not_equal(
        t["gross_eur"], pc.add(t["net_eur"], t["tax_eur"])
    ),
    ("ai4i", "no mode"): without_mode,
    ("ai4i", "random"): lambda t: pc.and_(pc.equal(t["RNF"], 1), pc.equal(t["Machine failure"], 0)),
    ("steel_plates", "left is right of right"): before("X_Maximum", "X_Minimum"),
    ("auto_mpg", "no horsepower"): is_null("horsepower"),
}


def test_every_kind_of_dirt_can_be_found():
    assert set(FINDERS) == {
        (name, dirt.name) for name, recipe in RECIPES.items() for dirt in recipe.dirt
    }


@pytest.mark.parametrize(("name", "dirt"), FINDERS)
def test_there_is_exactly_as_much_dirt_as_promised(name, dirt):
    (promised,) = [one.rows for one in RECIPES[name].dirt if one.name == dirt]
    assert pc.sum(FINDERS[name, dirt](TABLES[name])).as_py() == promised > 0


@pytest.mark.parametrize(
    ("name", "reference"),
    [(name, one) for name, recipe in RECIPES.items() for one in recipe.references],
    ids=str,
)
def test_keys_join_except_where_dirt_says_so(name, reference):
    lost = sum(
        dirt.rows for dirt in RECIPES[name].dirt if dirt.name.startswith("unknown")
        and reference.column in dirt.columns
    )  # fmt: skip
    known = TABLES[reference.table][reference.key].combine_chunks()
    found = pc.is_in(TABLES[name][reference.column].drop_null(), known)
    assert len(found) - pc.sum(found).as_py() == lost


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("orders", "AUFNR"),
        ("materials", "MATNR"),
        ("suppliers", "LIFNR"),
        ("workers", "PERNR"),
        ("workers", "USRID_LONG"),
        ("vehicles", "vin"),
        ("machines", "machine_id"),
        ("trucks", "truck_id"),
        ("deliveries", "delivery_no"),
        ("cost_centres", "KOSTL"),
        ("invoices", "invoice_no"),
        ("ai4i", "Product ID"),
    ],
)
def test_keys_are_unique(name, key):
    assert pc.count_distinct(TABLES[name][key]).as_py() == RECIPES[name].rows


def test_vehicles_keep_different_numbers_beyond_a_million():
    plant = Plant(1, 10_000)
    numbers = np.concatenate([at * 1_000_000 + np.arange(-2, 3) for at in range(1, 50)])
    assert numbers.max() < plant.vehicles
    assert pc.count_distinct(vins(plant, numbers)).as_py() == len(numbers)


def test_every_rework_has_its_failed_test():
    tests = TABLES["quality_tests"]
    beyond = tests.filter(pc.greater(tests["measured"], tests["upper_limit"]))
    failed = set(zip(beyond["vin"].to_pylist(), beyond["test"].to_pylist(), strict=True))
    rework = TABLES["rework"]
    assert failed >= set(zip(rework["vin"].to_pylist(), rework["test"].to_pylist(), strict=True))


def test_welds_carry_a_torque_curve_up_to_their_peak():
    welds = TABLES["welds"].slice(0, 200)
    for peak, curve in zip(
        welds["max_torque_nm"].to_pylist(), welds["torque_curve_nm"].to_pylist(), strict=True
    ):
        assert not curve or abs(max(curve) - abs(peak)) < 1.5


def test_made_up_numbers_have_right_check_digits():
    workers, suppliers = TABLES["workers"], TABLES["suppliers"]
    by_country = {"PT": checks.is_nif, "DE": checks.is_german_tax_id, "ES": checks.is_dni}
    for country, number in zip(
        workers["NATIO"].to_pylist(), workers["PERID"].to_pylist(), strict=True
    ):
        assert by_country[country](number), country
    assert all(map(checks.is_iban, workers["IBAN"].to_pylist()))
    assert {iban[:2] for iban in suppliers["IBAN"].to_pylist()} == {"PT", "DE", "ES"}
    assert all(map(checks.is_vin, TABLES["vehicles"]["vin"].to_pylist()))


def test_personal_data_are_of_kinds_the_detector_knows():
    kinds = {
        column.personal for recipe in RECIPES.values() for column in recipe.columns
    } - {""}  # fmt: skip
    assert kinds <= {kind.value for kind in Kind}
    assert len(kinds) >= 12


def test_the_detector_finds_what_is_personal_in_the_plant():
    # Detector and plant have one author: this shows that they agree, not how good either is.
    right, wrong = 0, []
    for name, recipe in RECIPES.items():
        columns = [Column(one.name, str(one.type), one.description) for one in recipe.columns]
        found = {one.column: one.kind.value for one in propose(columns, TABLES[name])}
        for column in recipe.columns:
            if found.get(column.name, "") == column.personal:
                right += bool(column.personal)
            else:
                wrong.append((name, column.name))
    # One supplier in ten is a person; a tenth of the names is too few to say so.
    assert wrong == [("suppliers", "NAME1")]
    assert right == 40


@pytest.mark.parametrize(
    ("column", "mean", "deviation"),
    [
        ("Air temperature [K]", 300.0, 2.0),
        ("Process temperature [K]", 310.0, 1.48),
        ("Rotational speed [rpm]", 1539, 179),
        ("Torque [Nm]", 40.0, 9.97),
        ("Tool wear [min]", 108, 63.7),
    ],
)
def test_the_milling_machine_looks_like_the_published_one(column, mean, deviation):
    values = TABLES["ai4i"][column].to_numpy()
    assert values.mean() == pytest.approx(mean, abs=0.1 * deviation)
    assert values.std() == pytest.approx(deviation, rel=0.15)


def test_failures_follow_from_wear_heat_power_and_strain():
    table = TABLES["ai4i"]
    shares = {mode: table[mode].to_numpy().mean() for mode in MODES}
    published = {"TWF": 0.0046, "HDF": 0.0115, "PWF": 0.0095, "OSF": 0.0098, "RNF": 0.0019}
    assert all(0.5 < shares[mode] / published[mode] < 2 for mode in MODES)
    wear = table["Tool wear [min]"].to_numpy()
    assert wear[table["TWF"].to_numpy() == 1].min() >= 200
    assert np.corrcoef(table["Rotational speed [rpm]"], table["Torque [Nm]"])[0, 1] < -0.8


def test_plates_have_one_fault_each_and_cars_drink_by_weight():
    plates, cars = TABLES["steel_plates"], TABLES["auto_mpg"]
    faults = sum(plates[name].to_numpy() for name in plates.column_names if "Fault" in name)
    assert set(faults) == {1}
    assert len(plates.column_names) == 34
    assert np.corrcoef(cars["mpg"], cars["weight"])[0, 1] < -0.7


@pytest.mark.parametrize("scale", [0, -1, 10_001, float("nan"), float("inf")])
def test_a_scale_that_is_no_size_is_refused(scale):
    with pytest.raises(InvalidInput, match="is no size of a plant"):
        Plant(1, scale)


def test_a_plant_of_any_size_has_all_its_tables():
    assert all(recipe.rows > 0 for recipe in recipes(scale=1e-9).values())
    large = recipes(scale=500)
    assert large["sensors"].rows == 96_000_000
    assert large["welds"].rows == 15_000_000
