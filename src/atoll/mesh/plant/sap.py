"""Tables as they come out of SAP: production orders, materials, suppliers, workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.mesh.plant import keys
from atoll.mesh.plant.draws import Flags
from atoll.mesh.plant.model import Column, Dirt, Plant, Recipe, Reference, Rows, few
from atoll.mesh.plant.people import People
from atoll.mesh.plant.texts import chosen, joined, padded

_TEXT, _INT, _DATE = pa.string(), pa.int32(), pa.date32()
_PARTS = (
    "Bracket", "Cable harness", "Door panel", "Seal", "Screw M8x25", "Brake disc", "Bearing",
    "Bumper", "Sensor wheel speed", "Heat shield", "Headlamp", "Air duct", "Clip", "Hinge",
)  # fmt: skip
_SIDES = ("front left", "front right", "rear left", "rear right", "centre")
_FIRMS = (
    "Plásticos do Sado", "Metalúrgica Atlântica", "Tejo Sealing", "Arrábida Components",
    "Norddeutsche Kabel", "Harz Federn", "Ebro Estampados", "Comporta Electronics",
)  # fmt: skip
_FORMS = ("Lda", "S.A.", "GmbH", "S.L.")
DAY = 86_400


def orders(plant: Plant) -> Recipe:
    """Production orders, as AFKO."""
    rows = plant.orders

    def make(at: Rows) -> Mapping[str, Any]:
        begin = keys.built_at(plant, at.numbers * 10) // DAY
        late = at.integers("late", 0, 3)
        end = np.where(at.is_dirty("ends before it begins"), begin - 2, begin + 1 + late)
        quantity = np.minimum(10, plant.vehicles - at.numbers * 10)
        return {
            "AUFNR": keys.orders(at.numbers),
            "AUART": chosen(at.pick("type", 92, 8), ("PP01", "PP02")),
            "WERKS": chosen(at.numbers * 0, ("7A00",)),
            "GSTRP": begin.astype("datetime64[D]"),
            "GLTRP": (begin + 1).astype("datetime64[D]"),
            "GLTRI": end.astype("datetime64[D]"),
            "GAMNG": quantity,
            "GMEIN": chosen(at.numbers * 0, ("ST",)),
            "DISPO": padded(at.integers("planner", 1, 9), 3),
            "ERNAM": keys.users(at.integers("author", 0, min(40, plant.workers))),
            "ERDAT": (begin - at.integers("ahead", 5, 30)).astype("datetime64[D]"),
        }

    return Recipe(
        "orders", "SAP", "production", "Production orders, each of ten vehicles (AFKO)",
        (
            Column("AUFNR", _TEXT, "Order number"),
            Column("AUART", _TEXT, "Order type"),
            Column("WERKS", _TEXT, "Plant"),
            Column("GSTRP", _DATE, "Basic start date"),
            Column("GLTRP", _DATE, "Basic finish date"),
            Column("GLTRI", _DATE, "Actual finish date"),
            Column("GAMNG", _INT, "Total order quantity"),
            Column("GMEIN", _TEXT, "Base unit of measure"),
            Column("DISPO", _TEXT, "MRP controller: a group, no person"),
            Column("ERNAM", _TEXT, "Name of the user who created it", "user_account"),
            Column("ERDAT", _DATE, "Created on"),
        ),
        rows, make,
        dirt=(
            Dirt("ends before it begins", ("GLTRI",), "GLTRI is before GSTRP", few(rows, 0.01)),
        ),
    )  # fmt: skip


def order_items(plant: Plant) -> Recipe:
    """What orders take, as AFPO: four materials for each; a drop with decimal commas."""
    rows = plant.orders * 4

    def make(at: Rows) -> Mapping[str, Any]:
        material = keys.materials(at.integers("material", 0, keys.MATERIALS))
        lost = at.is_dirty("unknown material")
        cents = padded(at.integers("cents", 0, 100), 2)
        euros = pa.array(at.integers("euros", 0, 300)).cast(_TEXT)
        return {
            "AUFNR": keys.orders(at.numbers // 4),
            "POSNR": padded(at.numbers % 4 + 1, 4),
            "MATNR": keys.replaced(material, lost, pa.scalar("UNKNOWN")),
            "PSMNG": at.integers("planned", 1, 5) * 10,
            "MEINS": chosen(at.numbers * 0, ("ST",)),
            "STPRS": joined(euros, cents, between=","),
        }

    return Recipe(
        "order_items", "SAP", "production", "Materials of production orders (AFPO)",
        (
            Column("AUFNR", _TEXT, "Order number"),
            Column("POSNR", _TEXT, "Item number"),
            Column("MATNR", _TEXT, "Material number"),
            Column("PSMNG", _INT, "Planned quantity"),
            Column("MEINS", _TEXT, "Base unit of measure"),
            Column("STPRS", _TEXT, "Standard price in euros, with a decimal comma"),
        ),
        rows, make,
        references=(
            Reference("AUFNR", "orders", "AUFNR"),
            Reference("MATNR", "materials", "MATNR"),
        ),
        dirt=(
            Dirt("unknown material", ("MATNR",), "MATNR is not in materials", few(rows, 0.004)),
        ),
        delimiter=";",
    )  # fmt: skip


def materials(plant: Plant) -> Recipe:
    """Materials, as MARA with MAKT's text."""
    rows = keys.MATERIALS

    def make(at: Rows) -> Mapping[str, Any]:
        gross = np.round(at.uniform("gross", 0.05, 30), 3)
        net = np.round(gross * at.uniform("net", 0.8, 1.0), 3)
        part = chosen(at.numbers % len(_PARTS), _PARTS)
        return {
            "MATNR": keys.materials(at.numbers),
            "MAKTX": joined(part, chosen(at.pick("side", 1, 1, 1, 1, 1), _SIDES), between=" "),
            "MTART": chosen(at.pick("type", 70, 20, 10), ("ROH", "HALB", "FERT")),
            "MATKL": padded(at.integers("group", 1, 40), 4),
            "MEINS": chosen(at.numbers * 0, ("ST",)),
            "BRGEW": gross,
            "NTGEW": np.where(at.is_dirty("heavier without packing"), gross + 1, net),
            "GEWEI": chosen(at.numbers * 0, ("KG",)),
            "EAN11": padded(5_600_000_000_000 + at.numbers * 7919, 13),
            "ERNAM": keys.users(at.integers("author", 0, min(40, plant.workers))),
            "ERSDA": at.integers("created", 16_000, 20_400).astype("datetime64[D]"),
        }

    return Recipe(
        "materials", "SAP", "logistics", "Materials with weights and texts (MARA, MAKT)",
        (
            Column("MATNR", _TEXT, "Material number"),
            Column("MAKTX", _TEXT, "Material description"),
            Column("MTART", _TEXT, "Material type"),
            Column("MATKL", _TEXT, "Material group"),
            Column("MEINS", _TEXT, "Base unit of measure"),
            Column("BRGEW", pa.float64(), "Gross weight"),
            Column("NTGEW", pa.float64(), "Net weight"),
            Column("GEWEI", _TEXT, "Weight unit"),
            Column("EAN11", _TEXT, "International article number"),
            Column("ERNAM", _TEXT, "Name of the user who created it", "user_account"),
            Column("ERSDA", _DATE, "Created on"),
        ),
        rows, make,
        dirt=(
            Dirt("heavier without packing", ("NTGEW",), "NTGEW is above BRGEW", 5),
        ),
    )  # fmt: skip


def suppliers(plant: Plant) -> Recipe:
    """Suppliers, as LFA1 with a bank account; one in ten is a person."""
    rows = keys.SUPPLIERS

    def make(at: Rows) -> Mapping[str, Any]:
        people = People(at.draws, at.numbers)
        is_person = at.numbers % 10 == 3
        firm = joined(
            chosen(at.numbers % len(_FIRMS), _FIRMS), padded(at.numbers, 3),
            chosen(at.numbers % len(_FORMS), _FORMS), between=" ",
        )  # fmt: skip
        tax = keys.nifs(np.where(is_person, 20_000_000, 50_000_000) + at.numbers * 811)
        return {
            "LIFNR": keys.suppliers(at.numbers),
            "NAME1": keys.replaced(firm, is_person, people.full_names()),
            "LAND1": chosen(at.numbers * 0, ("PT",)),
            "STRAS": people.streets(),
            "PSTLZ": people.postcodes(),
            "ORT01": people.places(),
            "TELF1": keys.masked(people.phones(), at.is_dirty("no telephone")),
            "STCD1": tax,
            "VERKF": people.full_names(),
            "SMTP_ADDR": people.mails("supplier.example"),
            "IBAN": _with_wrong_digits(people.ibans(), at.is_dirty("wrong check digits")),
        }

    return Recipe(
        "suppliers", "SAP", "logistics", "Suppliers and whom to call there (LFA1, LFM1)",
        (
            Column("LIFNR", _TEXT, "Account number of the supplier"),
            Column("NAME1", _TEXT, "Name; of a person where the supplier is one", "person_name"),
            Column("LAND1", _TEXT, "Country"),
            Column("STRAS", _TEXT, "House number and street", "postal_address"),
            Column("PSTLZ", _TEXT, "Postal code", "postal_address"),
            Column("ORT01", _TEXT, "City", "postal_address"),
            Column("TELF1", _TEXT, "First telephone number", "phone"),
            Column("STCD1", _TEXT, "Tax number 1", "national_id"),
            Column("VERKF", _TEXT, "Responsible salesperson at the supplier", "person_name"),
            Column("SMTP_ADDR", _TEXT, "E-mail address", "email"),
            Column("IBAN", _TEXT, "Bank account", "iban"),
        ),
        rows, make,
        dirt=(
            Dirt("wrong check digits", ("IBAN",), "the check digits of IBAN are wrong", 3),
            Dirt("no telephone", ("TELF1",), "TELF1 is missing", 6),
        ),
        delimiter=",",
    )  # fmt: skip


def _with_wrong_digits(ibans: pa.Array, where: Flags) -> pa.Array:
    # 00 is never right: check digits go from 02 to 98.
    wrong = joined(pc.utf8_slice_codeunits(ibans, 0, 2), "00", pc.utf8_slice_codeunits(ibans, 4))
    return keys.replaced(ibans, where, wrong)


def workers(plant: Plant) -> Recipe:
    """Workers, as PA0002 with the address, account and e-mail of its sisters."""
    rows = plant.workers

    def make(at: Rows) -> Mapping[str, Any]:
        people = People(at.draws, at.numbers)
        born = np.where(at.is_dirty("not born yet"), 25_000, people.birth_days())
        has_car = at.uniform("car") < 0.8
        return {
            "PERNR": keys.workers(at.numbers),
            "NACHN": people.family_names(),
            "VORNA": people.given_names(),
            "GBDAT": born.astype("datetime64[D]"),
            "GESCH": chosen(people.is_woman.astype(np.int64), ("1", "2")),
            "NATIO": people.countries(),
            "PERID": people.national_ids(),
            "STRAS": people.streets(),
            "PSTLZ": people.postcodes(),
            "ORT01": people.places(),
            "TELNR": keys.masked(people.phones(), at.is_dirty("no telephone")),
            "USRID_LONG": people.mails("autoworks.example"),
            "IBAN": people.ibans(),
            "ZZ_KFZ_KENNZEICHEN": keys.masked(keys.plates(at.draws, at.numbers), ~has_car),
            "KOSTL": keys.cost_centres(at.integers("cost centre", 0, keys.COST_CENTRES)),
            "BEGDA": at.integers("since", 9_000, 20_400).astype("datetime64[D]"),
        }

    return Recipe(
        "workers", "SAP", "production", "Workers of the plant (PA0002, PA0006, PA0009, PA0105)",
        (
            Column("PERNR", _TEXT, "Personnel number", "employee_number"),
            Column("NACHN", _TEXT, "Last name", "person_name"),
            Column("VORNA", _TEXT, "First name", "person_name"),
            Column("GBDAT", _DATE, "Date of birth", "birth_date"),
            Column("GESCH", _TEXT, "Gender key"),
            Column("NATIO", _TEXT, "Nationality"),
            Column("PERID", _TEXT, "Personnel ID number of the country", "national_id"),
            Column("STRAS", _TEXT, "Street and house number", "postal_address"),
            Column("PSTLZ", _TEXT, "Postal code", "postal_address"),
            Column("ORT01", _TEXT, "City", "postal_address"),
            Column("TELNR", _TEXT, "Telephone number", "phone"),
            Column("USRID_LONG", _TEXT, "E-mail address", "email"),
            Column("IBAN", _TEXT, "Account the wage goes to", "iban"),
            Column("ZZ_KFZ_KENNZEICHEN", _TEXT, "Car that may park here", "licence_plate"),
            Column("KOSTL", _TEXT, "Cost centre"),
            Column("BEGDA", _DATE, "Employed since"),
        ),
        rows, make,
        references=(Reference("KOSTL", "cost_centres", "KOSTL"),),
        dirt=(
            Dirt("not born yet", ("GBDAT",), "GBDAT is after 2030", 2),
            Dirt("no telephone", ("TELNR",), "TELNR is missing", few(rows, 0.02)),
        ),
    )  # fmt: skip
