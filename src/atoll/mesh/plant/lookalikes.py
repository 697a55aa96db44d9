"""Tables that look like three well-known ones, made anew from what is published about them.

No value is taken from the originals: processes and rules are those of the papers, and shares and
spreads follow summary statistics (means, deviations, quantiles) of the published tables.

Sources: Matzka (2020), "Explainable artificial intelligence for predictive maintenance
applications", AI4I 2020; Buscema, Terzi, Tastle (2010), "A new meta-classifier", steel plates of
Semeion; Quinlan (1993), "Combining instance-based and model-based learning", Auto MPG.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.mesh.plant import keys
from atoll.mesh.plant.draws import Draws, Flags, Floats, Ints
from atoll.mesh.plant.model import Column, Dirt, Plant, Recipe, Rows
from atoll.mesh.plant.texts import chosen, joined, padded

AI4I_ROWS, PLATES_ROWS, CARS_ROWS = 10_000, 1_941, 398
MODES = ("TWF", "HDF", "PWF", "OSF", "RNF")
FAULTS = (
    "Pastry_Fault", "Z_Scratch_Fault", "K_Scatch_Fault", "Stains_Fault", "Dirtiness_Fault",
    "Bumps_Fault", "Other_Faults",
)  # fmt: skip
_FAULT_SHARES = (158, 190, 391, 72, 55, 402, 673)
_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
_MAKES = ("aurora", "borealis", "corvo", "delfim", "estrela", "falke", "gazela", "hirsch")
_BODIES = ("sedan", "wagon", "coupe", "hatchback", "pickup")


def ai4i(plant: Plant) -> Recipe:
    """A milling machine whose failures follow from wear, heat, power and strain."""
    whole = _whole(plant, "ai4i", AI4I_ROWS, _milling)

    def make(at: Rows) -> Mapping[str, Any]:
        made = {name: values[at.numbers] for name, values in whole().items()}
        is_random, is_unexplained = at.is_dirty("random"), at.is_dirty("no mode")
        for mode in MODES[:-1]:
            made[mode] = made[mode] & ~(is_unexplained | is_random)
        failed = np.logical_or.reduce([made[mode] for mode in MODES[:-1]]) | is_unexplained
        kinds = made.pop("Type")
        names = chosen(kinds, "LMH")
        return {
            **made,
            "UDI": at.numbers + 1,
            "Product ID": joined(names, padded(10_000 + 7 * at.numbers, 5)),
            "Type": names,
            "Machine failure": failed.astype(np.int64),
            **{mode: made[mode].astype(np.int64) for mode in MODES[:-1]},
            "RNF": is_random.astype(np.int64),
        }

    return Recipe(
        "ai4i", "samples", "production", "Milling machine with failures and their modes",
        (
            Column("UDI", _INT, "Row"),
            Column("Product ID", _TEXT, "Quality of the product and a serial number"),
            Column("Type", _TEXT, "Quality: L, M or H"),
            Column("Air temperature [K]", _FLOAT, "Temperature of the air"),
            Column("Process temperature [K]", _FLOAT, "Temperature of the process"),
            Column("Rotational speed [rpm]", _INT, "Speed of the spindle"),
            Column("Torque [Nm]", _FLOAT, "Torque"),
            Column("Tool wear [min]", _INT, "Minutes the tool was in use"),
            Column("Machine failure", _INT, "1 if it failed"),
            Column("TWF", _INT, "1 for a failure by tool wear"),
            Column("HDF", _INT, "1 for a failure by heat"),
            Column("PWF", _INT, "1 for a failure by power"),
            Column("OSF", _INT, "1 for a failure by strain"),
            Column("RNF", _INT, "1 for a failure by chance"),
        ),
        AI4I_ROWS, make,
        dirt=(
            Dirt("no mode", ("Machine failure",), "Machine failure is 1, every mode is 0", 9),
            Dirt("random", ("RNF",), "RNF is 1, Machine failure is 0", 18),
        ),
        delimiter="\t",
    )  # fmt: skip


def _milling(draws: Draws, numbers: Ints) -> dict[str, Any]:
    kinds = draws.pick("type", numbers, (60, 30, 10))
    air = 300 + 2 * _wander(draws, "air", numbers, 4000)
    # The deviation of the process and its correlation with the air are those of the table.
    process = 310 + 0.65 * (air - 300) + 0.72 * _wander(draws, "process", numbers, 300)
    torque = np.clip(draws.normal("torque", numbers, 40, 10), 3.8, 76.6)
    # Slower under load: quantiles of one against those of the other.
    speed = np.interp(
        torque, (3.8, 23.5, 33.2, 40.1, 46.8, 56.1, 76.6),
        (2886, 1868, 1612, 1503, 1423, 1332, 1168),
    ) + draws.normal("speed", numbers, 0, 55)  # fmt: skip
    speed = np.maximum(np.rint(speed), 1168)
    wear, is_worn_out = _wear(draws, numbers, np.array([2, 3, 5])[kinds])
    air, process, torque = np.round(air, 1), np.round(process, 1), np.round(torque, 1)
    power = torque * speed * 2 * np.pi / 60
    return {
        "Type": kinds,
        "Air temperature [K]": air,
        "Process temperature [K]": process,
        "Rotational speed [rpm]": speed.astype(np.int64),
        "Torque [Nm]": torque,
        "Tool wear [min]": wear,
        "TWF": is_worn_out,
        "HDF": (process - air < 8.6) & (speed < 1380),
        "PWF": (power < 3500) | (power > 9000),
        "OSF": wear * torque > np.array([11_000, 12_000, 13_000])[kinds],
    }


def _wander(draws: Draws, what: str, numbers: Ints, memory: int) -> Floats:
    """Walk at random, forget what was `memory` rows ago, and scale to mean 0 and deviation 1."""
    steps = draws.normal(what, np.arange(len(numbers) + memory, dtype=np.int64))
    walk = np.cumsum(steps)
    recent = walk[memory:] - walk[:-memory]
    return np.asarray((recent - recent.mean()) / recent.std())


def _wear(draws: Draws, numbers: Ints, steps: Ints) -> tuple[Ints, Flags]:
    """Wear tools until each is replaced, at 200 to 240 minutes; some have failed by then."""
    limits = draws.integers("limit", numbers, 200, 241)
    fails = draws.uniform("fails", numbers) < 0.43
    wear, is_worn_out = np.zeros_like(numbers), np.zeros(len(numbers), np.bool_)
    minutes, tool = 0, 0
    for row, step in enumerate(steps):
        wear[row] = minutes
        if minutes >= limits[tool]:
            is_worn_out[row] = fails[tool]
            minutes, tool = 0, tool + 1
        else:
            minutes += step
    return wear, is_worn_out


def steel_plates(plant: Plant) -> Recipe:
    """Faults of steel plates, by the geometry and the light of what a camera saw."""
    whole = _whole(plant, "steel_plates", PLATES_ROWS, _plates)

    def make(at: Rows) -> Mapping[str, Any]:
        made = {name: values[at.numbers] for name, values in whole().items()}
        swapped = at.is_dirty("left is right of right")
        left, right = made["X_Minimum"], made["X_Maximum"]
        made["X_Minimum"] = np.where(swapped, right, left)
        made["X_Maximum"] = np.where(swapped, left, right)
        return made

    types = _plates(Draws(0, "steel_plates"), np.arange(2))
    return Recipe(
        "steel_plates", "samples", "quality", "Faults of steel plates and their measures",
        tuple(
            Column(name, pa.from_numpy_dtype(values.dtype), name.replace("_", " "))
            for name, values in types.items()
        ),
        PLATES_ROWS, make,
        dirt=(
            Dirt(
                "left is right of right", ("X_Minimum", "X_Maximum"),
                "X_Minimum is above X_Maximum", 4,
            ),
        ),
        delimiter=",",
    )  # fmt: skip


def _plates(draws: Draws, numbers: Ints) -> dict[str, Any]:
    fault = draws.pick("fault", numbers, _FAULT_SHARES)
    # Scratches (K) are far larger than the other faults.
    is_scratch = fault == 2
    width = _spread(draws, "width", numbers, np.where(is_scratch, 4.6, 2.5), 0.6, 1700)
    height = _spread(draws, "height", numbers, np.where(is_scratch, 5.2, 3.0), 0.7, 9000)
    fill = draws.uniform("fill", numbers, 0.35, 0.8)
    conveyer = draws.integers("conveyer", numbers, 1227, 1795)
    width = np.minimum(width, conveyer - 1)
    left = np.floor(draws.uniform("left", numbers) ** 1.4 * (conveyer - width)).astype(np.int64)
    top = np.rint(np.exp(draws.normal("top", numbers, 13.8, 1.0))).astype(np.int64)
    dark = np.clip(draws.normal("dark", numbers, 85, 32), 0, 203).astype(np.int64)
    light = np.clip(draws.normal("light", numbers, 130, 18), dark + 3, 253).astype(np.int64)
    mean = (dark + light) / 2
    area = np.maximum(np.rint(width * height * fill), 2).astype(np.int64)
    edge_x = width / (width + draws.integers("edge x", numbers, 1, 20))
    edge_y = height / (height + draws.integers("edge y", numbers, 1, 12))
    is_a300 = draws.uniform("steel", numbers) < 0.4
    thick = np.array([40, 50, 70, 80, 100, 200, 300])
    ratio = np.where(width > height, 1 - height / width, width / height - 1)
    return {
        "X_Minimum": left,
        "X_Maximum": left + width,
        "Y_Minimum": top,
        "Y_Maximum": top + height,
        "Pixels_Areas": area,
        "X_Perimeter": width + np.rint(0.4 * height).astype(np.int64),
        "Y_Perimeter": height + np.rint(0.1 * width).astype(np.int64),
        "Sum_of_Luminosity": np.rint(area * mean).astype(np.int64),
        "Minimum_of_Luminosity": dark,
        "Maximum_of_Luminosity": light,
        "Length_of_Conveyer": conveyer,
        "TypeOfSteel_A300": is_a300.astype(np.int64),
        "TypeOfSteel_A400": (~is_a300).astype(np.int64),
        "Steel_Plate_Thickness": thick[draws.pick("thickness", numbers, (35, 8, 17, 8, 16, 12, 4))],
        "Edges_Index": _four(2 * np.minimum(left, conveyer - left) / conveyer),
        "Empty_Index": _four(1 - fill),
        "Square_Index": _four(np.minimum(width, height) / np.maximum(width, height)),
        "Outside_X_Index": _four(width / conveyer),
        "Edges_X_Index": _four(edge_x),
        "Edges_Y_Index": _four(edge_y),
        "Outside_Global_Index": (width > height) * 1.0,
        "LogOfAreas": _four(np.log10(area)),
        "Log_X_Index": _four(np.log10(width)),
        "Log_Y_Index": _four(np.log10(height)),
        "Orientation_Index": _four(ratio),
        "Luminosity_Index": _four(mean / 128 - 1),
        "SigmoidOfAreas": _four(1 / (1 + np.exp(-(np.log10(area) - 2.3) * 3))),
        **{name: (fault == at).astype(np.int64) for at, name in enumerate(FAULTS)},
    }


def _spread(
    draws: Draws, what: str, numbers: Ints, middle: Floats, deviation: float, most: int
) -> Ints:
    """Draw lengths, most of them short, a few very long."""
    drawn = np.exp(middle + deviation * draws.normal(what, numbers))
    return np.clip(np.rint(drawn), 2, most).astype(np.int64)


def _four(values: Floats) -> Floats:
    return np.asarray(np.round(values, 4))


def auto_mpg(plant: Plant) -> Recipe:
    """Cars of the seventies and how far they go on a gallon."""
    whole = _whole(plant, "auto_mpg", CARS_ROWS, _cars)

    def make(at: Rows) -> Mapping[str, Any]:
        made = {name: values[at.numbers] for name, values in whole().items()}
        power = pa.array(made["horsepower"])
        make_of, body = at.integers("make", 0, len(_MAKES)), at.integers("body", 0, len(_BODIES))
        size = pa.array(at.integers("size", 10, 60) * 100).cast(_TEXT)
        return {
            **made,
            "horsepower": keys.masked(power, at.is_dirty("no horsepower")),
            "origin": chosen(made["origin"], ("usa", "europe", "japan")),
            "name": joined(chosen(make_of, _MAKES), size, chosen(body, _BODIES), between=" "),
        }

    return Recipe(
        "auto_mpg", "samples", "quality", "Cars, their engines and what they consume",
        (
            Column("mpg", _FLOAT, "Miles per US gallon"),
            Column("cylinders", _INT, "Cylinders"),
            Column("displacement", _FLOAT, "Cubic inches"),
            Column("horsepower", _FLOAT, "Horsepower"),
            Column("weight", _INT, "Pounds"),
            Column("acceleration", _FLOAT, "Seconds to 60 miles per hour"),
            Column("model_year", _INT, "Year, without the century"),
            Column("origin", _TEXT, "Where it was made"),
            Column("name", _TEXT, "Make and model"),
        ),
        CARS_ROWS, make,
        dirt=(Dirt("no horsepower", ("horsepower",), "horsepower is missing", 6),),
        delimiter=",",
    )  # fmt: skip


def _cars(draws: Draws, numbers: Ints) -> dict[str, Any]:
    size = draws.pick("cylinders", numbers, (51, 21, 26, 2))
    cylinders = np.array([4, 6, 8, 3])[size]
    usual = np.array([110.0, 218.0, 345.0, 72.0])[size]
    displacement = np.rint(usual * np.exp(draws.normal("displacement", numbers, 0, 0.16)))
    year = draws.integers("year", numbers, 70, 83)
    power = np.rint(52 + 0.27 * displacement + draws.normal("power", numbers, 0, 12))
    weight = np.rint(1500 + 7.6 * displacement + draws.normal("weight", numbers, 0, 230))
    seconds = np.round(21 - 0.052 * power + draws.normal("acceleration", numbers, 0, 1.6), 1)
    mpg = (
        32.7 - 0.0066 * (weight - 1600) + 0.75 * (year - 76) + draws.normal("mpg", numbers, 0, 2.8)
    )
    # Large engines are American, small ones from everywhere.
    abroad = 1 + (draws.uniform("origin", numbers) < 0.53).astype(np.int64)
    is_american = (size == 1) | (size == 2) | (draws.uniform("american", numbers) < 0.35)
    return {
        "mpg": np.round(np.maximum(mpg, 9), 1),
        "cylinders": cylinders,
        "displacement": displacement,
        "horsepower": power,
        "weight": weight.astype(np.int64),
        "acceleration": seconds,
        "model_year": year,
        "origin": np.where(is_american, 0, abroad),
    }


def _whole(
    plant: Plant, table: str, rows: int, make: Callable[[Draws, Ints], dict[str, Any]]
) -> Callable[[], dict[str, Any]]:
    """Make a small table in one piece, when its first rows are asked for, and keep it."""
    made: dict[str, Any] = {}

    def whole() -> dict[str, Any]:
        if not made:
            made.update(make(Draws(plant.seed, table), np.arange(rows, dtype=np.int64)))
        return made

    return whole
