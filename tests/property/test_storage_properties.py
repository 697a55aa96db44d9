"""A storage is a dictionary from paths to bytes; a dictionary is the oracle."""

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.core.errors import NotFound
from atoll.storage import StoredObject, open_storage

folders = st.lists(st.sampled_from(["a", "a b", "ü%", "a-"]), max_size=2)
files = st.sampled_from(["1.bin", "A.bin", "a.bin", "é#.bin"])
paths = st.builds(lambda parts, name: "/".join([*parts, name]), folders, files)
steps = st.lists(
    st.tuples(st.sampled_from(["put", "put_new", "delete", "get"]), paths, st.binary(max_size=9)),
    max_size=30,
)


@pytest.mark.parametrize("kind", ["memory", "file"])
@settings(max_examples=60, deadline=None)
@given(steps=steps, prefix=folders.map("/".join))
def test_a_storage_behaves_like_a_dictionary(kind, steps, prefix):
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder if kind == "file" else f"memory://{uuid.uuid4()}")
        model = {}
        for verb, path, data in steps:
            assert _apply(storage, verb, path, data) == _apply_to_model(model, verb, path, data)
        below = f"{prefix}/" if prefix else ""
        inside = {path: data for path, data in model.items() if path.startswith(below)}
        assert list(storage.list(prefix)) == [
            StoredObject(path, len(inside[path])) for path in sorted(inside)
        ]
        if kind == "file":
            assert len([path for path in Path(folder).rglob("*") if path.is_file()]) == len(model)


def _apply(storage, verb, path, data):
    try:
        return getattr(storage, verb)(*((path, data) if verb.startswith("put") else (path,)))
    except NotFound:
        return "not found"


def _apply_to_model(model, verb, path, data):
    if verb == "get":
        return model.get(path, "not found")
    if verb == "put_new" and path in model:
        return False
    if verb == "delete":
        model.pop(path, None)
        return None
    model[path] = data
    return True if verb == "put_new" else None
