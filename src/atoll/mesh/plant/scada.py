"""Tables of the control systems: machines, what their sensors send, their alarms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.mesh.plant import keys
from atoll.mesh.plant.model import DAYS, Column, Dirt, Plant, Recipe, Reference, Rows, few
from atoll.mesh.plant.texts import chosen, joined, padded

ALARMS_PER_SCALE = 1_000
SPIKE = 9999.0
_TEXT, _FLOAT = pa.string(), pa.float64()
_TYPES = ("robot", "press", "welder", "tightener", "machining centre", "laser")
_MAKERS = ("Norma", "Kessler", "Ibermac", "Votan")
_ALARMS = (
    ("E0101", "Motor overheated, axis stopped"),
    ("E0217", "Pressure below the least allowed"),
    ("E0333", "Light curtain interrupted"),
    ("W0404", "Tool near the end of its life"),
    ("W0512", "No part at the pick position"),
)
_OF_MACHINE = Reference("machine_id", "machines", "machine_id")


def machines(plant: Plant) -> Recipe:
    """Machines of the plant."""
    del plant

    def make(at: Rows) -> Mapping[str, Any]:
        hall = at.numbers // 6
        return {
            "machine_id": keys.machines(at.numbers),
            "machine_name": joined(
                chosen(at.numbers % 6, _TYPES), padded(hall + 1, 2), between=" "
            ),
            "machine_type": chosen(at.numbers % 6, _TYPES),
            "hall": padded(hall + 1, 1, before="Hall "),
            "manufacturer": chosen(at.integers("maker", 0, 4), _MAKERS),
            "serial_number": padded(at.integers("serial", 0, 10**9), 9, before="SN"),
            "plc_ip": joined("10.20.", _text(hall + 1), ".", _text(at.numbers % 6 + 11)),
            "firmware": joined("4.", _text(at.integers("minor", 0, 20)), ".2.0"),
            "commissioned_on": at.integers("since", 15_000, 20_000).astype("datetime64[D]"),
        }

    return Recipe(
        "machines", "SCADA", "production", "Machines with types, halls and firmware",
        (
            Column("machine_id", _TEXT, "Machine"),
            Column("machine_name", _TEXT, "What people call it"),
            Column("machine_type", _TEXT, "Type"),
            Column("hall", _TEXT, "Where it stands"),
            Column("manufacturer", _TEXT, "Who made it"),
            Column("serial_number", _TEXT, "Number its maker gave it"),
            Column("plc_ip", _TEXT, "Address of its controller"),
            Column("firmware", _TEXT, "Version of its firmware"),
            Column("commissioned_on", pa.date32(), "In use since"),
        ),
        keys.MACHINES, make,
        delimiter=",",
    )  # fmt: skip


def _text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(_TEXT)


def sensors(plant: Plant) -> Recipe:
    """What the sensors of all machines send, by day and time: the largest table."""
    rows = DAYS * plant.ticks * keys.MACHINES

    def make(at: Rows) -> Mapping[str, Any]:
        tick, machine = np.divmod(at.numbers, keys.MACHINES)
        day, tick = np.divmod(tick, plant.ticks)
        in_day = tick * 86_400_000 // plant.ticks
        when = (plant.epoch + day * keys.DAY_SECONDS) * 1000 + in_day
        # Each machine has a level of its own, and all are warmer in the afternoon.
        level = at.draws.normal("level", machine, 42, 4)
        warmth = 5 * np.sin(2 * np.pi * (in_day / 86_400_000 - 0.375))
        temperature = np.round(level + warmth + at.normal("temperature", 0, 0.8), 2)
        pressure = pa.array(np.round(at.normal("pressure", 6.2, 0.08), 3))
        return {
            "machine_id": keys.machines(machine),
            "at": pa.array(when, pa.int64()).cast(keys.MILLISECOND),
            "temperature_c": np.where(at.is_dirty("spike"), SPIKE, temperature),
            "vibration_mm_s": np.round(np.exp(at.normal("vibration", 0.4, 0.35)), 3),
            "current_a": np.round(np.abs(at.normal("current", 14, 3)), 2),
            "pressure_bar": keys.masked(pressure, at.is_dirty("no pressure")),
        }

    return Recipe(
        "sensors", "SCADA", "production", "Sensor readings of all machines, a folder for each day",
        (
            Column("machine_id", _TEXT, "Machine"),
            Column("at", keys.MILLISECOND, "Time, UTC"),
            Column("temperature_c", _FLOAT, "Temperature of the drive in °C"),
            Column("vibration_mm_s", _FLOAT, "Vibration in mm/s, root mean square"),
            Column("current_a", _FLOAT, "Current in A"),
            Column("pressure_bar", _FLOAT, "Air pressure in bar"),
        ),
        rows, make,
        references=(_OF_MACHINE,),
        dirt=(
            Dirt("spike", ("temperature_c",), f"temperature_c is {SPIKE:g}", few(rows, 0.0005)),
            Dirt("no pressure", ("pressure_bar",), "pressure_bar is missing", few(rows, 0.002)),
        ),
        days=DAYS,
    )  # fmt: skip


def alarms(plant: Plant) -> Recipe:
    """Alarms of machines."""
    rows = max(100, round(ALARMS_PER_SCALE * plant.scale))

    def make(at: Rows) -> Mapping[str, Any]:
        kind = at.pick("kind", 10, 15, 25, 20, 30)
        raised = plant.epoch + at.numbers * (DAYS * keys.DAY_SECONDS) // rows
        took = at.integers("took", 20, 3000)
        cleared = np.where(at.is_dirty("cleared before raised"), raised - took, raised + took)
        return {
            "alarm_id": at.numbers,
            "machine_id": keys.machines(at.integers("machine", 0, keys.MACHINES)),
            "code": chosen(kind, [code for code, _ in _ALARMS]),
            "alarm_text": chosen(kind, [text for _, text in _ALARMS]),
            "raised_at": keys.times(raised),
            "cleared_at": keys.times(cleared),
        }

    return Recipe(
        "alarms", "SCADA", "production", "Alarms with their texts and how long they lasted",
        (
            Column("alarm_id", pa.int64(), "Number of the alarm"),
            Column("machine_id", _TEXT, "Machine"),
            Column("code", _TEXT, "Code"),
            Column("alarm_text", _TEXT, "What the panel shows"),
            Column("raised_at", keys.SECOND, "Raised, UTC"),
            Column("cleared_at", keys.SECOND, "Cleared, UTC"),
        ),
        rows, make,
        references=(_OF_MACHINE,),
        dirt=(
            Dirt(
                "cleared before raised", ("cleared_at",), "cleared_at is before raised_at",
                few(rows, 0.005),
            ),
        ),
        delimiter=",",
    )  # fmt: skip
