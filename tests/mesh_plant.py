"""A small plant for tests, and its tables read back as other people read them."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset

from atoll.mesh.plant.model import Plant
from atoll.mesh.plant.writing import _MAKERS

SEED, SCALE = 7, 0.1


def recipes(seed=SEED, scale=SCALE):
    """Return how the tables are made, by name."""
    return {recipe.name: recipe for recipe in (make(Plant(seed, scale)) for make in _MAKERS)}


def rows_of(recipe, start=0, stop=None, most=4096, seed=SEED):
    """Make rows of a table without a file."""
    stop = recipe.rows if stop is None else stop
    return pa.Table.from_batches(recipe.batches(seed, start, stop, most), recipe.schema)


def read_table(folder, table):
    """Read a table that was written, with the types of its manifest."""
    place = folder / table.path
    if table.format == "parquet":
        partitioning = "hive" if table.partition else None
        return pa.dataset.dataset(place, partitioning=partitioning).to_table()
    schema = recipes()[table.name].schema
    return pa.csv.read_csv(
        place,
        parse_options=pa.csv.ParseOptions(delimiter=table.delimiter),
        convert_options=pa.csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
