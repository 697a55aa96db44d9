"""Tables of logistics, planning and finance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.mesh.plant import keys
from atoll.mesh.plant.draws import Draws, Ints
from atoll.mesh.plant.model import DAYS, Column, Dirt, Plant, Recipe, Reference, Rows, few
from atoll.mesh.plant.people import People
from atoll.mesh.plant.texts import chosen, padded

DELIVERIES_PER_SCALE = 2_000
LINES = ("BODY", "PAINT", "ASSEMBLY")
SHIFTS = ("EARLY", "LATE", "NIGHT")
_TEXT, _INT, _FLOAT = pa.string(), pa.int32(), pa.float64()
_MONEY = pa.decimal128(12, 2)
_CARRIERS = ("Transportes Sado", "Rodocargo", "Nordfracht", "Iberlog")
_CENTRES = ("Body shop", "Paint shop", "Assembly", "Press shop", "Logistics", "Quality", "Energy")


def trucks(plant: Plant) -> Recipe:
    """Trucks, who drives them, and where they were last."""
    del plant

    def make(at: Rows) -> Mapping[str, Any]:
        people = People(at.draws, at.numbers)
        return {
            "truck_id": keys.trucks(at.numbers),
            "licence_plate": keys.plates(at.draws, at.numbers),
            "carrier": chosen(at.numbers % 4, _CARRIERS),
            "driver_name": people.full_names(),
            "driver_phone": people.phones(),
            "latitude": np.round(at.uniform("latitude", 37.2, 41.7), 5),
            "longitude": np.round(at.uniform("longitude", -9.3, -6.4), 5),
        }

    return Recipe(
        "trucks", "logistics", "logistics", "Trucks with drivers and last positions",
        (
            Column("truck_id", _TEXT, "Truck"),
            Column("licence_plate", _TEXT, "Its licence plate", "licence_plate"),
            Column("carrier", _TEXT, "Whose it is"),
            Column("driver_name", _TEXT, "Who drives it", "person_name"),
            Column("driver_phone", _TEXT, "How to reach the driver", "phone"),
            Column("latitude", _FLOAT, "Where it was last, degrees north", "location"),
            Column("longitude", _FLOAT, "Where it was last, degrees east", "location"),
        ),
        keys.TRUCKS, make,
        delimiter=",",
    )  # fmt: skip


def deliveries(plant: Plant) -> Recipe:
    """Deliveries of material to the docks."""
    rows = _deliveries(plant)

    def make(at: Rows) -> Mapping[str, Any]:
        arrived = plant.epoch + at.numbers * (DAYS * keys.DAY_SECONDS) // rows
        waited = at.integers("waited", 600, 7200)
        early = at.is_dirty("unloaded before it arrived")
        quantity = at.integers("quantity", 1, 60) * 10
        return {
            "delivery_no": keys.deliveries(at.numbers),
            "supplier_no": keys.suppliers(_supplier(plant, at.numbers)),
            "material_no": keys.materials(at.integers("material", 0, keys.MATERIALS)),
            "truck_id": keys.trucks(at.integers("truck", 0, keys.TRUCKS)),
            "dock": padded(at.integers("dock", 1, 13), 2, before="D"),
            "quantity": np.where(at.is_dirty("negative quantity"), -quantity, quantity),
            "arrived_at": keys.times(arrived),
            "unloaded_at": keys.times(np.where(early, arrived - waited, arrived + waited)),
        }

    return Recipe(
        "deliveries", "logistics", "logistics", "Deliveries by supplier, material and truck",
        (
            Column("delivery_no", _TEXT, "Delivery note"),
            Column("supplier_no", _TEXT, "Supplier"),
            Column("material_no", _TEXT, "Material"),
            Column("truck_id", _TEXT, "Truck"),
            Column("dock", _TEXT, "Where it was unloaded"),
            Column("quantity", _INT, "Pieces"),
            Column("arrived_at", keys.SECOND, "Arrival, UTC"),
            Column("unloaded_at", keys.SECOND, "End of unloading, UTC"),
        ),
        rows, make,
        references=(
            Reference("supplier_no", "suppliers", "LIFNR"),
            Reference("material_no", "materials", "MATNR"),
            Reference("truck_id", "trucks", "truck_id"),
        ),
        dirt=(
            Dirt("negative quantity", ("quantity",), "quantity is below 0", few(rows, 0.003)),
            Dirt(
                "unloaded before it arrived", ("unloaded_at",), "unloaded_at is before arrived_at",
                few(rows, 0.004),
            ),
        ),
    )  # fmt: skip


def _deliveries(plant: Plant) -> int:
    return max(100, round(DELIVERIES_PER_SCALE * plant.scale))


def _supplier(plant: Plant, deliveries: Ints) -> Ints:
    return Draws(plant.seed, "deliveries").integers("supplier", deliveries, 0, keys.SUPPLIERS)


def shifts(plant: Plant) -> Recipe:
    """The shift calendar: every day, three shifts on three lines."""
    rows = DAYS * len(SHIFTS) * len(LINES)

    def make(at: Rows) -> Mapping[str, Any]:
        shift, line = np.divmod(at.numbers, len(LINES))
        begin = plant.epoch + shift * 8 * 3600 + 6 * 3600
        longer = np.where(at.is_dirty("overlaps the next"), 3600, 0)
        return {
            "day": (begin // keys.DAY_SECONDS).astype("datetime64[D]"),
            "shift": chosen(shift % len(SHIFTS), SHIFTS),
            "line": chosen(line, LINES),
            "planned_start": keys.times(begin),
            "planned_end": keys.times(begin + 8 * 3600 + longer),
            "headcount": at.integers("headcount", 60, 140),
            "foreman_id": keys.workers(at.integers("foreman", 0, min(30, plant.workers))),
        }

    return Recipe(
        "shifts", "planning", "planning", "Shift calendar by line, with foremen and headcounts",
        (
            Column("day", pa.date32(), "Day on which it begins"),
            Column("shift", _TEXT, "Shift"),
            Column("line", _TEXT, "Line"),
            Column("planned_start", keys.SECOND, "Planned start, UTC"),
            Column("planned_end", keys.SECOND, "Planned end, UTC"),
            Column("headcount", _INT, "Workers planned"),
            Column("foreman_id", _TEXT, "Personnel number of the foreman", "employee_number"),
        ),
        rows, make,
        references=(Reference("foreman_id", "workers", "PERNR"),),
        dirt=(
            Dirt(
                "overlaps the next", ("planned_end",),
                "planned_end is more than 8 hours after planned_start", 4,
            ),
        ),
        delimiter=",",
    )  # fmt: skip


def cost_centres(plant: Plant) -> Recipe:
    """Cost centres, as CSKS."""

    def make(at: Rows) -> Mapping[str, Any]:
        manager = at.integers("manager", 0, min(60, plant.workers))
        return {
            "KOSTL": keys.cost_centres(at.numbers),
            "KTEXT": chosen(at.numbers % len(_CENTRES), _CENTRES),
            "BUKRS": chosen(at.numbers * 0, ("7A00",)),
            "VERAK": People(Draws(plant.seed, "workers"), manager).full_names(),
            "budget_eur": at.integers("budget", 50, 900) * 1000,
        }

    return Recipe(
        "cost_centres", "finance", "finance", "Cost centres and who answers for them (CSKS)",
        (
            Column("KOSTL", _TEXT, "Cost centre"),
            Column("KTEXT", _TEXT, "General name"),
            Column("BUKRS", _TEXT, "Company code"),
            Column("VERAK", _TEXT, "Person responsible", "person_name"),
            Column("budget_eur", pa.int64(), "Budget of the year in euros"),
        ),
        keys.COST_CENTRES, make,
        delimiter=";",
    )  # fmt: skip


def invoices(plant: Plant) -> Recipe:
    """Invoices of suppliers, one for every second delivery."""
    rows = _deliveries(plant) // 2

    def make(at: Rows) -> Mapping[str, Any]:
        net = at.integers("net", 10_000, 90_000_000)
        tax = net * 23 // 100
        wrong = np.where(at.is_dirty("gross is wrong"), 100, 0)
        supplier = _supplier(plant, at.numbers * 2)
        return {
            "invoice_no": padded(5_100_000_000 + at.numbers, 10),
            "delivery_no": keys.deliveries(at.numbers * 2),
            "supplier_no": keys.suppliers(supplier),
            "cost_centre": keys.cost_centres(at.integers("cost centre", 0, keys.COST_CENTRES)),
            "net_eur": _euros(net),
            "tax_eur": _euros(tax),
            "gross_eur": _euros(net + tax + wrong),
            "payee_iban": People(Draws(plant.seed, "suppliers"), supplier).ibans(),
            "posted_on": (plant.epoch // keys.DAY_SECONDS + at.numbers * DAYS // rows).astype(
                "datetime64[D]"
            ),
            "approved_by": keys.users(at.integers("approver", 0, min(12, plant.workers))),
        }

    return Recipe(
        "invoices", "finance", "finance", "Invoices of suppliers with accounts to pay to",
        (
            Column("invoice_no", _TEXT, "Number of the invoice"),
            Column("delivery_no", _TEXT, "Delivery"),
            Column("supplier_no", _TEXT, "Supplier"),
            Column("cost_centre", _TEXT, "Cost centre"),
            Column("net_eur", _MONEY, "Net amount in euros"),
            Column("tax_eur", _MONEY, "Value added tax in euros"),
            Column("gross_eur", _MONEY, "Gross amount in euros"),
            Column("payee_iban", _TEXT, "Account to pay to", "iban"),
            Column("posted_on", pa.date32(), "Posting date"),
            Column("approved_by", _TEXT, "User who approved it", "user_account"),
        ),
        rows, make,
        references=(
            Reference("delivery_no", "deliveries", "delivery_no"),
            Reference("supplier_no", "suppliers", "LIFNR"),
            Reference("cost_centre", "cost_centres", "KOSTL"),
        ),
        dirt=(
            Dirt(
                "gross is wrong", ("gross_eur",), "gross_eur is not net_eur and tax_eur together",
                few(rows, 0.004),
            ),
        ),
    )  # fmt: skip


def _euros(cents: Ints) -> pa.Array:
    # Arrow keeps a decimal as a whole number of 128 bits, the lower half first.
    whole = np.stack([cents, cents >> 63], axis=1)
    return pa.Array.from_buffers(_MONEY, len(cents), [None, pa.py_buffer(whole)])
