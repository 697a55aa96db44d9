"""Tables of the manufacturing execution system: vehicles, operations, welds, tests, rework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.mesh.plant import keys
from atoll.mesh.plant.draws import Draws, Flags, Floats, Ints
from atoll.mesh.plant.model import Column, Dirt, Plant, Recipe, Reference, Rows, few
from atoll.mesh.plant.people import People
from atoll.mesh.plant.texts import chosen, joined, padded

OPERATIONS, WELDS, TESTS = 8, 6, 4
CURVE_POINTS = 24
# One vehicle in so many fails a test and is reworked.
REWORKED_OF = 20
_TEXT, _INT, _FLOAT = pa.string(), pa.int32(), pa.float64()
_STATIONS = ("UNDERBODY", "SIDE", "ROOF", "PAINT", "COCKPIT", "DOORS", "CHASSIS", "FINISH")
_COLOURS = ("Pure White", "Deep Black", "Moonstone Grey", "Kings Red", "Petroleum Blue")
# Name, unit, what is usual, how it scatters, limits.
_TESTS = (
    ("gap_door_left", "mm", 3.5, 0.12, 3.0, 4.0),
    ("brake_force", "kN", 4.2, 0.15, 3.5, 4.9),
    ("headlamp_level", "%", -1.0, 0.05, -1.25, -0.75),
    ("leak_rate", "ml/min", 2.0, 0.35, 0.0, 4.0),
)
_REASONS = ("out of limits", "surface", "noise", "missing part")
_COMMENTS = (
    "adjusted and measured again", "replaced the part", "cleaned the sensor, then it passed",
    "seal was not seated, seated it", "waited for the part from the warehouse",
)  # fmt: skip
_VIN = Column("vin", _TEXT, "Vehicle identification number", "vin")
_OF_VEHICLE = Reference("vin", "vehicles", "vin")


def vehicles(plant: Plant) -> Recipe:
    """Vehicles that the plant builds."""
    rows = plant.vehicles

    def make(at: Rows) -> Mapping[str, Any]:
        begin = keys.built_at(plant, at.numbers)
        took = at.integers("took", 16 * 3600, 40 * 3600)
        end = np.where(at.is_dirty("done before it began"), begin - 3600, begin + took)
        return {
            "vin": keys.vins(plant, at.numbers),
            "order_no": keys.orders(at.numbers // 10),
            "model": chosen(keys.models(plant, at.numbers), keys.MODELS),
            "colour": chosen(at.pick("colour", 34, 26, 20, 9, 11), _COLOURS),
            "body_begun_at": keys.times(begin),
            "completed_at": keys.times(end),
        }

    return Recipe(
        "vehicles", "MES", "production", "Vehicles with their orders, models and colours",
        (
            _VIN,
            Column("order_no", _TEXT, "Production order"),
            Column("model", _TEXT, "Model"),
            Column("colour", _TEXT, "Colour of the body"),
            Column("body_begun_at", keys.SECOND, "When the body was begun, UTC"),
            Column("completed_at", keys.SECOND, "When the vehicle left the line, UTC"),
        ),
        rows, make,
        references=(Reference("order_no", "orders", "AUFNR"),),
        dirt=(
            Dirt(
                "done before it began", ("completed_at",), "completed_at is before body_begun_at",
                few(rows, 0.002),
            ),
        ),
    )  # fmt: skip


def operations(plant: Plant) -> Recipe:
    """What was done to vehicles, station by station."""
    rows = plant.vehicles * OPERATIONS

    def make(at: Rows) -> Mapping[str, Any]:
        vehicle, step = np.divmod(at.numbers, OPERATIONS)
        begin = keys.built_at(plant, vehicle) + step * 7200 + at.integers("wait", 0, 1800)
        took = at.integers("took", 50, 400)
        end = np.where(at.is_dirty("ended before it began"), begin - took, begin + took)
        worker = keys.workers(at.integers("worker", 0, plant.workers))
        return {
            "operation_id": at.numbers,
            "vin": keys.vins(plant, vehicle),
            "station": chosen(step, _STATIONS),
            "machine_id": keys.machines(step * 6 + at.integers("machine", 0, 6)),
            "worker_id": keys.replaced(
                worker, at.is_dirty("unknown worker"), pa.scalar("99999999")
            ),
            "started_at": keys.times(begin),
            "ended_at": keys.times(end),
            "status": chosen(at.pick("status", 970, 25, 5), ("OK", "REPEATED", "SKIPPED")),
        }

    return Recipe(
        "operations", "MES", "production", "Operations on vehicles by station, machine and worker",
        (
            Column("operation_id", pa.int64(), "Number of the operation"),
            _VIN,
            Column("station", _TEXT, "Station of the line"),
            Column("machine_id", _TEXT, "Machine"),
            Column("worker_id", _TEXT, "Personnel number of the worker", "employee_number"),
            Column("started_at", keys.SECOND, "Start, UTC"),
            Column("ended_at", keys.SECOND, "End, UTC"),
            Column("status", _TEXT, "How it went"),
        ),
        rows, make,
        references=(
            _OF_VEHICLE,
            Reference("machine_id", "machines", "machine_id"),
            Reference("worker_id", "workers", "PERNR"),
        ),
        dirt=(
            Dirt(
                "ended before it began", ("ended_at",), "ended_at is before started_at",
                few(rows, 0.001),
            ),
            Dirt(
                "unknown worker", ("worker_id",), "worker_id is not in workers", few(rows, 0.0005)
            ),
        ),
    )  # fmt: skip


def welds(plant: Plant) -> Recipe:
    """Friction-element welds, each with the torque over its course."""
    rows = plant.vehicles * WELDS

    def make(at: Rows) -> Mapping[str, Any]:
        vehicle, spot = np.divmod(at.numbers, WELDS)
        peak = np.where(at.is_dirty("negative peak"), -1.0, 1.0) * at.normal("peak", 9.5, 0.6)
        return {
            "weld_id": at.numbers,
            "vin": keys.vins(plant, vehicle),
            "spot": padded(spot + 1, 3, before="FEW-"),
            "machine_id": keys.machines(at.integers("hall", 0, 8) * 6 + 2),
            "welded_at": keys.times(keys.built_at(plant, vehicle) + 600 + 40 * spot),
            "max_torque_nm": np.round(peak, 2),
            "speed_rpm": at.integers("speed", 4800, 6200),
            "torque_curve_nm": _curves(at, peak, at.is_dirty("no curve")),
        }

    return Recipe(
        "welds", "MES", "production", "Friction-element welds with torque curves",
        (
            Column("weld_id", pa.int64(), "Number of the weld"),
            _VIN,
            Column("spot", _TEXT, "Place on the body"),
            Column("machine_id", _TEXT, "Machine"),
            Column("welded_at", keys.SECOND, "Time, UTC"),
            Column("max_torque_nm", _FLOAT, "Highest torque in Nm"),
            Column("speed_rpm", _INT, "Speed of the spindle"),
            Column(
                "torque_curve_nm", pa.list_(pa.float32()),
                f"Torque in Nm, {CURVE_POINTS} points from touch to stop",
            ),
        ),
        rows, make,
        references=(_OF_VEHICLE, Reference("machine_id", "machines", "machine_id")),
        dirt=(
            Dirt(
                "negative peak", ("max_torque_nm",), "max_torque_nm is below 0", few(rows, 0.0005)
            ),
            Dirt("no curve", ("torque_curve_nm",), "torque_curve_nm is empty", few(rows, 0.001)),
        ),
    )  # fmt: skip


def _curves(at: Rows, peak: Floats, is_empty: Flags) -> pa.Array:
    """Draw curves: touch, penetrate, heat up to the peak, compress."""
    when = np.linspace(0, 1, CURVE_POINTS)
    course = np.interp(when, (0, 0.3, 0.45, 0.8, 1), (0, 0.5, 0.35, 1, 0.2))
    points = (at.numbers[:, None] * CURVE_POINTS + np.arange(CURVE_POINTS)).ravel()
    noise = at.draws.normal("curve", points, 0, 0.12).reshape(-1, CURVE_POINTS)
    torque = np.round(np.abs(peak)[:, None] * course + noise, 2).astype(np.float32)
    lengths = np.where(is_empty, 0, CURVE_POINTS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, torque[~is_empty].ravel())


def quality_tests(plant: Plant) -> Recipe:
    """Results of the tests that each vehicle undergoes."""
    rows = plant.vehicles * TESTS

    def make(at: Rows) -> Mapping[str, Any]:
        vehicle, test = np.divmod(at.numbers, TESTS)
        mean, deviation, low, high = (
            np.array([one[place] for one in _TESTS])[test] for place in (2, 3, 4, 5)
        )
        # Within three deviations nothing is out of limits.
        good = mean + deviation * np.clip(at.normal("measured"), -3, 3)
        has_failed = _has_failed(plant, vehicle, test)
        beyond = high + deviation * at.uniform("beyond", 0.5, 3)
        passed_wrongly = at.is_dirty("passed beyond its limits")
        inspector = keys.workers(at.integers("inspector", 0, min(25, plant.workers)))
        return {
            "vin": keys.vins(plant, vehicle),
            "test": chosen(test, [one[0] for one in _TESTS]),
            "measured": np.round(np.where(has_failed | passed_wrongly, beyond, good), 3),
            "lower_limit": low,
            "upper_limit": high,
            "unit": chosen(test, [one[1] for one in _TESTS]),
            "passed": ~has_failed | passed_wrongly,
            "tested_at": keys.times(keys.built_at(plant, vehicle) + 57_000 + 300 * test),
            "inspector": keys.masked(inspector, at.is_dirty("nobody inspected")),
        }

    return Recipe(
        "quality_tests", "MES", "quality", "Test results of vehicles against their limits",
        (
            _VIN,
            Column("test", _TEXT, "What was tested"),
            Column("measured", _FLOAT, "The result"),
            Column("lower_limit", _FLOAT, "Least that passes"),
            Column("upper_limit", _FLOAT, "Most that passes"),
            Column("unit", _TEXT, "Unit of result and limits"),
            Column("passed", pa.bool_(), "Whether it passed"),
            Column("tested_at", keys.SECOND, "Time, UTC"),
            Column("inspector", _TEXT, "Personnel number of the inspector", "employee_number"),
        ),
        rows, make,
        references=(_OF_VEHICLE, Reference("inspector", "workers", "PERNR")),
        dirt=(
            Dirt(
                "passed beyond its limits", ("measured", "passed"),
                "passed is true, measured is above upper_limit", few(rows, 0.001),
            ),
            Dirt("nobody inspected", ("inspector",), "inspector is missing", few(rows, 0.002)),
        ),
    )  # fmt: skip


def rework(plant: Plant) -> Recipe:
    """What was mended on the vehicles that failed a test."""
    rows = plant.vehicles // REWORKED_OF

    def make(at: Rows) -> Mapping[str, Any]:
        vehicle = _rework(plant).spots("vehicle", at.numbers, plant.vehicles, at.total)
        comment = chosen(at.pick("comment", 4, 3, 2, 1, 1), _COMMENTS)
        asked = joined(comment, ", asked Sr. ", People(at.draws, at.numbers).family_names())
        hours = np.round(at.uniform("hours", 0.2, 6), 1)
        return {
            "vin": keys.vins(plant, vehicle),
            "test": chosen(_failed_test(plant, vehicle), [one[0] for one in _TESTS]),
            "reason": chosen(at.pick("reason", 60, 20, 12, 8), _REASONS),
            "hours": np.where(at.is_dirty("negative hours"), -hours, hours),
            "worker_id": keys.workers(at.integers("worker", 0, plant.workers)),
            "finished_at": keys.times(keys.built_at(plant, vehicle) + 90_000),
            "comment": keys.replaced(comment, at.uniform("asked") < 0.1, asked),
        }

    return Recipe(
        "rework", "MES", "quality", "Rework on vehicles that failed a test",
        (
            _VIN,
            Column("test", _TEXT, "The test that failed"),
            Column("reason", _TEXT, "Why"),
            Column("hours", _FLOAT, "Hours it took"),
            Column("worker_id", _TEXT, "Personnel number of whoever did it", "employee_number"),
            Column("finished_at", keys.SECOND, "Time, UTC"),
            Column("comment", _TEXT, "What whoever did it wrote", "free_text"),
        ),
        rows, make,
        references=(_OF_VEHICLE, Reference("worker_id", "workers", "PERNR")),
        dirt=(Dirt("negative hours", ("hours",), "hours is below 0", few(rows, 0.01)),),
    )  # fmt: skip


def _rework(plant: Plant) -> Draws:
    return Draws(plant.seed, "rework")


def _failed_test(plant: Plant, vehicles: Ints) -> Ints:
    return _rework(plant).integers("test", vehicles, 0, TESTS)


def _has_failed(plant: Plant, vehicles: Ints, tests: Ints) -> Flags:
    """Tell whether vehicles fail a test: one of every `REWORKED_OF` fails one."""
    count = plant.vehicles // REWORKED_OF
    places = _rework(plant).places("vehicle", vehicles, plant.vehicles, count)
    return np.asarray((places >= 0) & (_failed_test(plant, vehicles) == tests))
