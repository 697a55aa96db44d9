from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from vectordata import gaussian, stored

from atoll.vectors.distance import floats_to_halves, floats_to_levels, halves_to_floats
from atoll.vectors.scan import Best


def entries(count, seed=0):
    """Keys with many ties, and distinct refs."""
    random = np.random.default_rng(seed)
    key = random.integers(0, count // 3 + 1, count).astype(np.uint64)
    return key, random.permutation(count).astype(np.uint64)


def kept(best):
    _, key, ref = best.taken()
    return sorted(zip(key.tolist(), ref.tolist(), strict=True))


@pytest.mark.parametrize("keep", [1, 2, 50, 1000, 5000])
def test_the_best_are_the_smallest_keys_and_among_ties_the_smallest_refs(keep):
    key, ref = entries(4000)
    best = Best.of(1, keep)
    best.add(np.zeros(4000, np.int64), key, ref)
    assert kept(best) == sorted(zip(key.tolist(), ref.tolist(), strict=True))[:keep]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_sorted_entries_come_out_as_any_others(order):
    key = np.arange(5000, dtype=np.uint64)[order]
    best = Best.of(1, 40)
    best.add(np.zeros(5000, np.int64), key, key)
    assert kept(best) == [(i, i) for i in range(40)]


def test_equal_keys_are_cut_alike_in_any_order():
    ref = np.random.default_rng(0).permutation(3000).astype(np.uint64)
    best = Best.of(1, 7)
    best.add(np.zeros(3000, np.int64), np.zeros(3000, np.uint64), ref)
    assert kept(best) == [(0, i) for i in range(7)]


def test_each_query_keeps_its_own():
    key, ref = entries(900)
    query = np.arange(900) % 3
    best = Best.of(3, 10)
    best.add(query, key, ref)
    who, found, _ = best.taken()
    for number in range(3):
        assert sorted(found[who == number]) == sorted(key[query == number])[:10]


def test_every_float16_widens_to_itself():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(halves_to_floats(halves), halves.astype(np.float32))


@pytest.mark.filterwarnings("ignore:.*encountered in cast")
def test_floats_are_rounded_to_the_nearest_float16_ties_to_even():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = ((halves[:-1] + halves[1:]) / 2).astype(np.float32)
    near = [np.nextafter(ties, np.float32(to)) for to in (0, 1e9)]
    ends = np.array([65519, 65520, 65536, 1e30, np.inf, np.nan, 1e-8, 1e-44, 0], np.float32)
    floats = np.concatenate([ties, *near, halves.astype(np.float32), ends])
    floats = np.concatenate([floats, -floats])
    out = np.empty(floats.shape, np.float16)
    floats_to_halves(floats, out)
    np.testing.assert_array_equal(out, floats.astype(np.float16))


def test_rounding_tells_its_squared_error():
    floats = np.random.default_rng(0).standard_normal((7, 33)).astype(np.float32)
    out = np.empty(floats.shape, np.float16)
    found = floats_to_halves(floats, out)
    exact = floats.astype(np.float64)
    true = ((exact - out.astype(np.float64)) ** 2).sum(), (exact**2).sum()
    assert found == pytest.approx(true, rel=1e-12)


def test_a_value_beyond_float16_has_an_infinite_error():
    out = np.empty(3, np.float16)
    assert floats_to_halves(np.array([1, 1e6, 0], np.float32), out)[0] == np.inf


@pytest.mark.parametrize("scale", [2.0**-59, 1.0, 2.0**59])
def test_directions_are_rounded_to_the_nearest_of_255_levels(scale):
    floats = gaussian(50, 33) * np.float32(scale)
    out = np.empty(floats.shape, np.int8)
    error, squared = floats_to_levels(floats, out)
    np.testing.assert_array_equal(out, stored(floats, "int8"))
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (floats / scale, out)]
    assert squared == 50
    assert error == pytest.approx(((units[0] - units[1]) ** 2).sum(), rel=1e-3)


@pytest.mark.slow
def test_kernels_compile_anew_where_no_cache_can_be_written():
    script = """
        from numba.core import caching
        caching.CacheImpl._locator_classes.clear()
        import numpy as np
        from atoll.vectors.distance import pair_distances
        rows = np.ones((2, 9), np.float32)
        print(pair_distances(rows, 2 * rows, "l2"))
    """
    run = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[9. 9.]\n", "")


@pytest.mark.slow
def test_a_scan_reads_no_memory_that_was_given_back():
    """Of a size that glibc returns to the system at once, so that a late read ends the process."""
    script = """
        import numpy as np
        from vectordata import gaussian
        from atoll.vectors import rabitq, scan
        dim, one = 50_000, np.zeros(1, np.int64)
        signs = rabitq.rotation_signs(dim, 0)
        hashes = np.zeros(1, np.uint64)
        codes = rabitq.encode(gaussian(1, dim), one, gaussian(1, dim, 1), signs, "l2", hashes)
        held = scan.arranged(codes.view(np.uint8).reshape(1, -1), 1)
        asked = rabitq.prepare(gaussian(1, dim, 2), one, gaussian(1, dim, 1), one, np.ones(1, "f4"))
        block = np.array([(held.ctypes.data, 1, 0, 0, 7, 0)], scan.BLOCK)
        best = scan.Best.of(1, 3)
        scan.scan(block, asked, best, "l2", dim)
        print(best.taken()[2])
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    given = {"MALLOC_MMAP_THRESHOLD_": "16384", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(run, env=os.environ | given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[7]\n"), done.stderr


def test_cached_code_is_not_used_after_any_of_its_files_changed():
    """numba itself looks only at the file of the function."""
    from atoll.vectors.kernels import compiling, scans

    assert scans.scan_blocks._cache._cache_file._source_stamp == compiling._sources()
    package = Path(compiling.__file__).parent.parent
    compiled = [
        path.relative_to(package)
        for path in package.rglob("*.py")
        if re.search(r"^@(compiled|inner)$", path.read_text(), re.MULTILINE)
    ]
    outside = {path.name for path in compiled if path.parts[0] != "kernels"}
    assert {"pairs.py", "probes.py"} <= outside <= set(compiling.BESIDE)
    assert all((package / name).exists() for name in compiling.BESIDE)
