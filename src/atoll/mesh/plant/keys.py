"""The keys by which the tables of a plant join, made from the number of what they name.

Numbers that have check digits are made up, as are all persons: that one is somebody's is chance.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.mesh.plant.draws import Draws, Flags, Ints
from atoll.mesh.plant.model import DAYS, Plant
from atoll.mesh.plant.texts import (
    Codes,
    chosen,
    codes,
    digits,
    joined,
    letters,
    modulo,
    padded,
    strings,
)

MACHINES, SUPPLIERS, MATERIALS, TRUCKS, COST_CENTRES = 48, 120, 600, 40, 24
MODELS = ("Aurora", "Aurora R", "Aurora Cabrio", "Brisa", "Cargo")
DAY_SECONDS = 86_400
SECOND, MILLISECOND = pa.timestamp("s"), pa.timestamp("ms")
_MODEL_CODES = ("A1", "AR", "AC", "B1", "C1")
# Of VINs, without those that look like digits.
_VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_WORKERS_FROM, _SUPPLIERS_FROM, _DELIVERIES_FROM = 10_000_000, 100_000, 180_000_000
# No bank has these codes.
_BANK = {"PT": "9999", "DE": "99999999", "ES": "9999"}
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def orders(numbers: Ints) -> pa.Array:
    """Name production orders as SAP does, AUFNR."""
    return padded(1_000_000 + numbers, 12)


def materials(numbers: Ints) -> pa.Array:
    """Name materials, MATNR."""
    return strings(codes("5Q0", len(numbers)), digits(numbers, 6), letters(numbers % 4, "ABCD"))


def suppliers(numbers: Ints) -> pa.Array:
    """Name suppliers, LIFNR."""
    return padded(_SUPPLIERS_FROM + numbers, 10)


def workers(numbers: Ints) -> pa.Array:
    """Name workers, PERNR."""
    return padded(_WORKERS_FROM + 7 * numbers, 8)


def users(numbers: Ints) -> pa.Array:
    """Name the accounts of workers in SAP."""
    return padded(10_000 + numbers, 5, before="DPAL")


def machines(numbers: Ints) -> pa.Array:
    """Name machines by station, six of each type to a hall."""
    return joined(
        chosen(numbers % 6, ("ROB", "PRS", "WLD", "TRQ", "CNC", "LSR")),
        padded(numbers // 6, 2, before="-H"),
    )


def deliveries(numbers: Ints) -> pa.Array:
    """Name deliveries."""
    return padded(_DELIVERIES_FROM + numbers, 10)


def trucks(numbers: Ints) -> pa.Array:
    """Name trucks."""
    return padded(numbers + 1, 4, before="LKW")


def cost_centres(numbers: Ints) -> pa.Array:
    """Name cost centres, KOSTL."""
    return padded(4_100 + 10 * numbers, 10)


def models(plant: Plant, vehicles: Ints) -> Ints:
    """Tell which of `MODELS` vehicles are of."""
    return Draws(plant.seed, "vehicles").pick("model", vehicles, (60, 8, 12, 12, 8))


def vins(plant: Plant, vehicles: Ints) -> pa.Array:
    """Name vehicles: maker, model, year, plant, number; European ones have no check digit."""
    table = np.array([list(code.encode()) for code in _MODEL_CODES], np.uint8)
    # After each million vehicles the letters before their number change.
    second, first = np.divmod(vehicles // 1_000_000, len(_VIN_LETTERS))
    return strings(
        codes("TWZZZZ", len(vehicles)),
        table[models(plant, vehicles)],
        codes("Z", len(vehicles)),
        letters(second, _VIN_LETTERS),
        letters(first, _VIN_LETTERS),
        digits(vehicles, 6),
    )


def built_at(plant: Plant, vehicles: Ints) -> Ints:
    """Tell when the body of vehicles was begun, in seconds since 1970: one after the other."""
    return plant.epoch + vehicles * (DAYS * DAY_SECONDS) // plant.vehicles


def times(seconds: Ints) -> pa.Array:
    """Write seconds since 1970 as timestamps."""
    return pa.array(seconds, pa.int64()).cast(SECOND)


def ibans(country: str, accounts: Ints) -> pa.Array:
    """Make account numbers of a bank that does not exist, with right check digits.

    Args:
        country: "PT", "DE" or "ES".
        accounts: numbers of at most ten digits.
    """
    rows = len(accounts)
    bank = codes(_BANK[country], rows)
    if country == "DE":
        basic = np.concatenate([bank, digits(accounts, 10)], axis=1)
    elif country == "PT":
        account = np.concatenate([bank, codes("0001", rows), digits(accounts, 11)], axis=1)
        basic = np.concatenate([account, digits(98 - modulo(_shifted(account), 97), 2)], axis=1)
    else:
        branch, account = np.concatenate([bank, codes("0001", rows)], axis=1), digits(accounts, 10)
        checks = [_spanish(np.concatenate([codes("00", rows), branch], axis=1)), _spanish(account)]
        basic = np.concatenate([branch, *checks, account], axis=1)
    number = "".join(str(int(letter, 36)) for letter in country)
    rest = modulo(_shifted(np.concatenate([basic, codes(number, rows)], axis=1)), 97)
    return strings(codes(country, rows), digits(98 - rest, 2), basic)


def _shifted(number: Codes) -> Codes:
    return np.concatenate([number, codes("00", len(number))], axis=1)


def _spanish(number: Codes) -> Codes:
    """Return the check digit of ten digits of a Spanish account."""
    weights = 2 ** np.arange(10) % 11
    rest = 11 - ((number.astype(np.int64) - ord("0")) * weights).sum(axis=1) % 11
    return digits(np.where(rest >= 10, 11 - rest, rest), 1)


def nifs(numbers: Ints) -> pa.Array:
    """Make Portuguese tax numbers of eight digits each and a check digit."""
    first = digits(numbers, 8)
    weighted = ((first.astype(np.int64) - ord("0")) * np.arange(9, 1, -1)).sum(axis=1) % 11
    return strings(first, digits(np.where(weighted < 2, 0, 11 - weighted), 1))


def dnis(numbers: Ints) -> pa.Array:
    """Make Spanish identity numbers of eight digits and a letter."""
    return strings(digits(numbers, 8), letters(numbers % 23, _DNI_LETTERS))


def german_tax_ids(draws: Draws, numbers: Ints) -> pa.Array:
    """Make German tax identification numbers: nine different digits, one of them twice, a check."""
    keys = np.stack([draws.bits(f"tax id/{digit}", numbers) for digit in range(10)], axis=1)
    order = np.argsort(keys, axis=1, kind="stable")
    order[:, 0] = np.where(order[:, 0] == 0, order[:, 9], order[:, 0])
    again = np.take_along_axis(order, draws.integers("twice", numbers, 0, 9)[:, None], axis=1)
    first = np.concatenate([order[:, :9], again], axis=1)
    product = np.full(len(numbers), 10)
    for column in first.T:
        total = (column + product) % 10
        product = np.where(total == 0, 10, total) * 2 % 11
    return strings((first + ord("0")).astype(np.uint8), digits((11 - product) % 10, 1))


def plates(draws: Draws, numbers: Ints) -> pa.Array:
    """Make Portuguese licence plates, AA-00-AA."""
    alphabet = "ABCDEFGHIJLMNOPQRSTUVXZ"
    drawn = [
        letters(draws.integers(f"plate/{place}", numbers, 0, 23), alphabet) for place in range(4)
    ]
    dash = codes("-", len(numbers))
    middle = digits(draws.integers("plate", numbers, 0, 100), 2)
    return strings(*drawn[:2], dash, middle, dash, *drawn[2:])


def masked(values: pa.Array, is_missing: Flags) -> pa.Array:
    """Leave values out."""
    return pc.if_else(pa.array(is_missing), pa.scalar(None, values.type), values)


def replaced(values: pa.Array, where: Flags, by: pa.Array | pa.Scalar) -> pa.Array:
    """Put other values in the place of some."""
    return pc.if_else(pa.array(where), by, values)
