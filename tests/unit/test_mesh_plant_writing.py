"""How a plant is written: whole files, a bounded number of rows in memory, a manifest last."""

import weakref

import pyarrow.parquet as pq
import pytest
from mesh_plant import SCALE, SEED, read_table, recipes, rows_of

from atoll.core.errors import Conflict, Corrupt, InvalidInput, NotFound
from atoll.mesh.plant import MANIFEST, generate, read_manifest, writing
from atoll.mesh.plant.model import Recipe
from atoll.storage import open_storage


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plant")
    return folder, generate(folder, seed=SEED, scale=SCALE)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize("name", recipes())
def test_what_is_read_back_is_what_was_made(plant, name):
    folder, tables = plant
    (table,) = [one for one in tables if one.name == name]
    read = read_table(folder, table)
    made = rows_of(recipes()[name])
    assert read.select(made.column_names).cast(made.schema) == made


def test_sensors_lie_in_a_folder_for_each_day(plant):
    folder, _ = plant
    days = sorted(path.name for path in (folder / "scada/sensors").iterdir())
    assert len(days) == 20
    assert (days[0], days[-1]) == ("day=2026-03-02", "day=2026-03-21")
    first = pq.read_table(folder / "scada/sensors/day=2026-03-05/part-00000.parquet")
    assert {str(at)[:10] for at in first["at"].to_pylist()} == {"2026-03-05"}


def test_the_manifest_says_what_is_there(plant):
    folder, tables = plant
    manifest = read_manifest(open_storage(folder))
    assert (manifest.seed, manifest.scale, list(manifest.tables)) == (SEED, SCALE, tables)
    for table in tables:
        place = folder / table.path
        files = [place] if place.is_file() else [one for one in place.rglob("*") if one.is_file()]
        assert len(files) == table.files
        assert sum(one.stat().st_size for one in files) == table.size_bytes
        assert read_table(folder, table).num_rows == table.rows
    assert len([one for one in folder.rglob("*") if one.is_file()]) == 1 + sum(
        table.files for table in tables
    )


def test_the_same_seed_gives_the_same_files_and_another_does_not(plant, tmp_path):
    folder, _ = plant
    generate(tmp_path, seed=SEED, scale=SCALE)
    assert contents(tmp_path) == contents(folder)
    with pytest.raises(Conflict, match=f"the plant of seed {SEED}, scale {SCALE}"):
        generate(tmp_path, seed=SEED + 1, scale=SCALE)
    generate(tmp_path / "other", seed=SEED + 1, scale=SCALE)
    assert contents(tmp_path / "other").keys() == contents(folder).keys()
    assert contents(tmp_path / "other") != contents(folder)


def test_no_more_rows_are_in_memory_than_a_batch_has(tmp_path, monkeypatch):
    made, alive = [], []
    batches = Recipe.batches

    def watched(self, seed, start, stop, most):
        for batch in batches(self, seed, start, stop, most):
            alive.append(sum(one() is not None for one in made))
            made.append(weakref.ref(batch))
            assert len(batch) <= 500
            yield batch

    monkeypatch.setattr(Recipe, "batches", watched)
    tables = generate(tmp_path, seed=SEED, scale=SCALE, batch_rows=500)
    assert len(made) > sum(table.rows for table in tables) // 500
    # The one that the writer holds until it gets the next.
    assert max(alive) <= 1
    welds = pq.ParquetFile(tmp_path / "mes/welds/part-00000.parquet")
    assert welds.num_row_groups == 6


def test_large_tables_are_cut_into_files(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "FILE_ROWS", 1000)
    tables = {table.name: table for table in generate(tmp_path, seed=SEED, scale=SCALE)}
    assert tables["welds"].files == 3
    assert tables["sensors"].files == 40
    made = rows_of(recipes()["welds"])
    assert read_table(tmp_path, tables["welds"]).cast(made.schema) == made


def test_progress_ends_with_all_rows(tmp_path):
    seen = []
    tables = generate(tmp_path, scale=1e-9, on_progress=seen.append)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[-1].done == seen[-1].total == sum(table.rows for table in tables)


def test_a_folder_with_anything_else_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"precious\.txt"):
        generate(tmp_path, scale=1e-9)
    assert contents(tmp_path) == {(tmp_path / "precious.txt").relative_to(tmp_path): b"mine"}


def test_an_interrupted_run_is_taken_up_again(tmp_path):
    def stop(progress):
        if progress.done > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, seed=SEED, scale=SCALE, on_progress=stop)
    with pytest.raises(NotFound):
        read_manifest(open_storage(tmp_path))
    generate(tmp_path, seed=SEED, scale=SCALE)
    assert read_manifest(open_storage(tmp_path)).seed == SEED


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"seed": -1}, {"seed": 2**63}, {"batch_rows": 0}])
def test_nothing_is_written_for_a_wrong_number(tmp_path, wrong):
    with pytest.raises(InvalidInput, match="give"):
        generate(tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"version": "a"}', b"\xff"])
def test_a_damaged_manifest_is_said_to_be_so(tmp_path, data):
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(Corrupt, match="generate the plant again"):
        read_manifest(open_storage(tmp_path))


def test_a_plant_can_live_in_memory():
    storage = open_storage("memory://plant-in-memory")
    tables = generate(storage, scale=1e-9)
    assert list(read_manifest(storage).tables) == tables
