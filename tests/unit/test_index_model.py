from __future__ import annotations

import numpy as np
import pytest
from vectordata import DISTANCE_TYPES, clustered, gaussian

from atoll.core.errors import InvalidInput
from atoll.storage import open_storage
from atoll.vectors import blobs
from atoll.vectors.index import as_halves, from_halves, prepared, train
from atoll.vectors.model import IndexSpec
from atoll.vectors.options import BuildOptions

DIM = 20


@pytest.fixture(scope="module", params=DISTANCE_TYPES)
def model(request):
    rows = clustered(9000, DIM, clusters=300)
    return train(rows, IndexSpec("rabitq", 1300), request.param, 3)


def measured(model, query, numbers):
    centroids = model.centroids[numbers].astype(np.float64)
    if model.distance_type == "dot":
        return centroids @ query.astype(np.float64)
    return ((centroids - query) ** 2).sum(axis=1)


@pytest.mark.parametrize("count", [1, 20, 1300, 5000])
def test_the_nearest_partitions_come_first_with_their_measure(model, count):
    queries = prepared(clustered(40, DIM, seed=1), model.distance_type)
    sign = -1 if model.distance_type == "dot" else 1
    numbers, base = model.probe_order(queries, count)
    shared = 0
    for query, mine, near in zip(queries, numbers, base, strict=True):
        np.testing.assert_allclose(near, measured(model, query, mine), rtol=1e-6, atol=1e-6)
        assert np.lexsort((mine, sign * near)).tolist() == list(range(len(mine)))
        true = np.argsort(sign * measured(model, query, slice(None)))[:count]
        shared += len(np.intersect1d(mine, true)) / len(true)
    assert shared / len(queries) > 0.99


def test_a_query_probes_alike_alone_and_in_company(model):
    queries = prepared(gaussian(70, DIM), model.distance_type)
    for count in (5, 1300):
        together = model.probe_order(queries, count)
        for at in (0, 31, 69):
            alone = model.probe_order(queries[at : at + 1], count)
            np.testing.assert_array_equal(alone[0][0], together[0][at])
            np.testing.assert_array_equal(alone[1][0], together[1][at])


def test_rows_are_assigned_with_their_squared_distance(model):
    rows = prepared(clustered(300, DIM, seed=2), model.distance_type)
    partition, squared = model.partition_of(rows)
    gaps = ((rows[:, None].astype(np.float64) - model.centroids[None]) ** 2).sum(axis=2)
    assert (partition == gaps.argmin(axis=1)).mean() > 0.999
    np.testing.assert_allclose(squared, gaps[np.arange(300), partition], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1, 1e6, 1e15])
def test_a_stored_model_is_the_trained_one_to_the_last_bit(tmp_path, scale):
    rows = clustered(900, DIM) * np.float32(scale)
    model = train(rows, IndexSpec("rabitq", 600, bits=4), "l2", 0)
    storage = open_storage(str(tmp_path))
    found = blobs.get_model(storage, blobs.put_model(storage, model))
    for name in ("centroids", "signs", "groups", "bits"):
        np.testing.assert_array_equal(getattr(found, name), getattr(model, name))
    assert model.bits == 4
    assert np.isfinite(model.centroids).all()


def test_centroids_of_unit_rows_are_plain_float16():
    halves, shift = as_halves(prepared(gaussian(50, 960), "cosine"))
    assert shift == 0
    np.testing.assert_array_equal(from_halves(halves, shift), halves.astype(np.float32))


def test_torch_trains_a_model_that_fits_alike(monkeypatch):
    from atoll.vectors import torchassign

    on_cpu = torchassign.nearest_on("cpu")
    monkeypatch.setattr(torchassign, "nearest_on", lambda device: on_cpu)
    rows = clustered(4000, DIM, clusters=200)
    ours, theirs = (
        train(rows, IndexSpec("rabitq", 520), "l2", 0, device) for device in ("cpu", "cuda")
    )
    fits = [model.partition_of(rows)[1].mean() for model in (ours, theirs)]
    assert fits[1] == pytest.approx(fits[0], rel=0.02)
    assert (theirs.partition_of(rows, "cuda")[0] == theirs.partition_of(rows)[0]).mean() > 0.999


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_codes_of_other_widths_are_refused(bits):
    with pytest.raises(InvalidInput, match="1, 2, 4, 8"):
        BuildOptions(bits=bits)


def test_an_unknown_device_is_refused():
    with pytest.raises(InvalidInput, match="cpu, cuda"):
        BuildOptions(device="tpu")
