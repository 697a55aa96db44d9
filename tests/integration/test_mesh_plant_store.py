"""A plant in an object store, and one large enough to show that memory stays bounded."""

import sys
import tracemalloc

import pyarrow as pa
import pytest

from atoll.mesh.plant import generate, read_manifest
from atoll.storage import open_storage


@pytest.fixture(params=["moto_s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def server(request):
    return request.getfixturevalue(request.param)


def test_a_plant_in_an_object_store_is_the_one_on_disk(server, tmp_path):
    storage = open_storage(f"{server.new_bucket()}/plants/one", server.options())
    tables = generate(storage, scale=0.01)
    assert generate(tmp_path, scale=0.01) == tables
    assert read_manifest(storage) == read_manifest(open_storage(tmp_path))
    for found in storage.list():
        assert storage.get(found.path) == (tmp_path / found.path).read_bytes()


def peak_bytes(folder, scale):
    """Measure what generating takes at most, in numpy and Python, and in Arrow."""
    arrow = []
    tracemalloc.start()
    generate(
        folder,
        scale=scale,
        batch_rows=2000,
        on_progress=lambda _: arrow.append(pa.total_allocated_bytes()),
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak + max(arrow)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer allocates, too")
def test_ten_times_the_rows_take_no_more_memory(tmp_path):
    small = peak_bytes(tmp_path / "small", 0.2)
    assert peak_bytes(tmp_path / "large", 2) < 1.3 * small
