"""The search index on disk: killed writers, damage, foreign folders, several processes."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mesh_listings import entry

from atoll.core.errors import Conflict, Corrupt, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh.discovery import Index, Put, Query, Remove

OPEN = frozenset({"open"})
HERE = Path(__file__).parent.parent
IDS = 40


def changes(position):
    """Make the changes that lead to a position: some of 40 entries come, change and go."""
    chance = random.Random(position)
    for _ in range(30):
        id = str(chance.randrange(IDS))
        yield (
            Put(entry(id, payload=str(position).encode())) if chance.random() < 0.7 else Remove(id)
        )


def content(position):
    held = {}
    for each in range(1, position + 1):
        for change in changes(each):
            if isinstance(change, Put):
                held[change.entry.id] = change.entry.payload
            else:
                held.pop(change.id, None)
    return held


def held(index):
    return {hit.id: hit.payload for hit in index.search(Query(OPEN, limit=100)).hits}


WRITING = """
import sys
from pathlib import Path
from test_mesh_search_folder import Index, changes
index = Index.open(Path(sys.argv[1]))
for position in range(index.position + 1, 10_000):
    index.apply(changes(position), position=position)
    print(position, flush=True)
"""
REBUILDING = """
import sys, time
from pathlib import Path
from test_mesh_search_folder import Index, entry
def entries():
    for number in range(10_000_000):
        if number == 2000:
            print("begun", flush=True)
        yield entry(str(number))
Index.rebuilt(Path(sys.argv[1]), entries(), position=9)
"""


def started(script, folder):
    path = os.pathsep.join((str(HERE), str(HERE / "integration"), *sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def killed(process):
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL
    return rest


@pytest.mark.parametrize("moment", range(6))
def test_a_killed_writer_leaves_what_its_position_says(tmp_path, moment):
    process = started(WRITING, tmp_path)
    told = [int(process.stdout.readline()) for _ in range(1 + moment)]
    threading.Event().wait(0.011 * moment)  # somewhere within a commit
    told += map(int, killed(process))
    with Index.open(tmp_path) as index:
        assert index.position in (told[-1], told[-1] + 1)
        assert held(index) == content(index.position)
        index.apply(changes(index.position + 1), position=index.position + 1)
        assert held(index) == content(index.position)


def test_files_of_a_commit_that_was_killed_do_not_stand_in_the_next_ones_way(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    with Index.open(here) as index:
        index.apply([Put(entry(str(one))) for one in range(5)], position=1)
    shutil.copytree(here, there)
    with Index.open(there) as index:
        index.apply([Remove("1")], position=2)
    # As if that commit had died just before its description was written.
    for file in live(there).iterdir():
        if file.suffix == ".del" or file.name == ".managed.json":
            shutil.copy(file, live(here))
    with Index.open(here) as index:
        index.apply([Remove("1")], position=2)
        assert sorted(held(index)) == ["0", "2", "3", "4"]


def test_a_killed_rebuild_leaves_the_old_index_and_its_rest_is_removed(tmp_path):
    with Index.open(tmp_path) as index:
        index.apply([Put(entry("old"))], position=3)
    process = started(REBUILDING, tmp_path)
    process.stdout.readline()
    killed(process)
    with Index.open(tmp_path) as index:
        assert (index.position, list(held(index))) == (3, ["old"])
        index.rebuild([entry("new")], position=4)
        assert (index.position, list(held(index))) == (4, ["new"])
    assert len([*tmp_path.glob("index-*")]) == 1


@pytest.mark.parametrize("visible", [OPEN, frozenset()])
def test_34_hits_are_given_before_all_is_counted_even_if_there_are_none(tmp_path, visible):
    given = []
    with Index.rebuilt(tmp_path, [entry("a")], position=1) as index:
        page = index.search(Query(visible), given.append)
    assert given == [page.hits]
    assert len(page.hits) == (visible == OPEN)


def test_34_what_fails_beside_a_search_is_not_taken_for_a_damaged_index(tmp_path):
    def fails(hits):
        raise OSError("elsewhere")

    with (
        Index.rebuilt(tmp_path, [entry("a")], position=1) as index,
        pytest.raises(OSError, match="elsewhere"),
    ):
        index.search(Query(OPEN), fails)


def test_changes_that_fail_half_way_leave_nothing(tmp_path):
    def failing():
        yield Put(entry("2"))
        raise NotFound("the catalog is gone")

    with Index.open(tmp_path) as index:
        index.apply([Put(entry("1"))], position=1)
        with pytest.raises(NotFound, match="the catalog is gone"):
            index.apply(failing(), position=2)
        index.apply([Put(entry("3"))], position=2)
        assert sorted(held(index)) == ["1", "3"]


@pytest.fixture
def full_disk():
    """Let no file grow beyond 100 kB, while somebody says so."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def test_a_full_disk_leaves_the_last_commit(tmp_path, full_disk):
    many = [entry(f"{number}", payload=random.randbytes(10_000)) for number in range(100)]
    with Index.open(tmp_path) as index:
        index.apply([Put(entry("1"))], position=1)
        full_disk()
        for fill in (
            lambda: index.apply(map(Put, many), position=2),
            lambda: index.rebuild(many, position=2),
        ):
            with pytest.raises(Unavailable, match="free some room"):
                fill()
            assert (index.position, list(held(index))) == (1, ["1"])
        index.apply([Put(entry("2"))], position=2)
        assert sorted(held(index)) == ["1", "2"]
    assert len([*tmp_path.glob("index-*")]) == 1


def test_an_index_does_not_go_back(tmp_path):
    with Index.open(tmp_path) as index:
        index.apply([Put(entry())], position=7)
        index.apply([], position=7)
        with pytest.raises(Conflict, match="at change 7, cannot go back to 6"):
            index.apply([Remove("1")], position=6)
        assert (index.position, list(held(index))) == (7, ["1"])


def test_an_id_that_comes_twice_stops_a_rebuild(tmp_path):
    with Index.open(tmp_path) as index:
        index.apply([Put(entry("1"))], position=1)
        with pytest.raises(InvalidInput, match="entry '2' comes twice"):
            index.rebuild([entry("2"), entry("2")], position=2)
        assert (index.position, list(held(index))) == (1, ["1"])


@pytest.fixture
def whole(tmp_path):
    """A folder with an index that has a deleted entry."""
    with Index.open(tmp_path) as index:
        index.apply([Put(entry(str(number))) for number in range(20)], position=1)
        index.apply([Remove("7")], position=2)
    return tmp_path


def live(folder):
    return folder / json.loads((folder / "search-index.json").read_text())["index"]


def is_mended(folder):
    with Index.rebuilt(folder, [entry("new")], position=5) as index:
        return (index.position, list(held(index))) == (5, ["new"])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", ["term", "idx", "pos", "fast", "store", "fieldnorm", "del"])
@pytest.mark.parametrize(
    "damage", [flipped, Path.unlink, lambda p: p.write_bytes(b""), os.truncate]
)
def test_a_damaged_file_is_found_at_open(whole, suffix, damage):
    path = next(live(whole).glob(f"*.{suffix}"))
    damage(path, path.stat().st_size - 1) if damage is os.truncate else damage(path)
    with pytest.raises(Corrupt, match="rebuild it from the catalog"):
        Index.open(whole)
    assert is_mended(whole)


@pytest.mark.parametrize("name", ["search-index.json", "meta.json"])
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1', "\x00" * 9, "\xff", "9" * 5000])
def test_a_damaged_description_is_found_at_open(whole, name, text):
    path = whole / name if name == "search-index.json" else live(whole) / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(Corrupt, match="rebuild it from the catalog"):
        Index.open(whole)
    assert is_mended(whole)


def test_without_its_description_an_index_is_damaged_and_without_its_own_a_folder_is_new(whole):
    (live(whole) / "meta.json").unlink()
    with pytest.raises(Corrupt, match="rebuild it from the catalog"):
        Index.open(whole)
    (whole / "search-index.json").unlink()
    with Index.open(whole) as index:
        assert (index.position, held(index)) == (0, {})
    assert len([*whole.glob("index-*")]) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"format": 3, "index": "index-" + "0" * 32},
        {"format": 2, "index": "index-" + "0" * 32},
        {"format": 2, "index": "../.."},
        {"format": 2, "index": "/"},
        {"format": 2, "index": ""},
    ],
)
def test_an_index_that_is_not_there_or_of_another_format_is_refused(whole, said):
    (whole / "search-index.json").write_text(json.dumps(said))
    with pytest.raises(Corrupt, match=r"format 3|not there"):
        Index.open(whole)
    assert is_mended(whole)


@pytest.mark.parametrize("name", ["search-index.json", "meta.json"])
def test_an_index_that_loses_its_description_while_it_is_open_says_so(whole, name):
    with Index.open(whole) as index:
        (whole / name if name == "search-index.json" else live(whole) / name).unlink()
        for ask in (lambda: index.search(Query(OPEN)), lambda: index.position):
            with pytest.raises(Corrupt, match="rebuild it from the catalog"):
                ask()


def test_an_index_without_a_position_is_refused(whole):
    import tantivy

    index = tantivy.Index.open(str(live(whole)))
    writer = index.writer(15_000_000, 1)
    writer.delete_all_documents()
    writer.commit()
    with pytest.raises(Corrupt, match="rebuild it from the catalog"):
        Index.open(whole)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for make in (Index.open, lambda folder: Index.rebuilt(folder, [], position=0)):
        with pytest.raises(InvalidInput, match=r"something else.*'thesis.txt'"):
            make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((InvalidInput, Forbidden)):
        Index.open(tmp_path / "file")


def test_one_process_writes_and_others_read_what_it_commits(tmp_path):
    with Index.open(tmp_path) as reader:
        process = started(WRITING, tmp_path)
        for _ in range(3):
            position = int(process.stdout.readline())
            assert reader.position >= position
        with pytest.raises(Conflict, match="another process writes"):
            reader.apply([], position=10**6)
        with pytest.raises(Conflict, match="another process writes"):
            reader.rebuild([], position=10**6)
        killed(process)
        assert held(reader) == content(reader.position)
        reader.apply(changes(reader.position + 1), position=reader.position + 1)


def test_a_writer_that_closes_leaves_the_place_to_another(tmp_path):
    with Index.open(tmp_path) as one, Index.open(tmp_path) as other:
        one.apply([Put(entry("1"))], position=1)
        with pytest.raises(Conflict):
            other.apply([], position=2)
        one.close()
        other.apply([Put(entry("2"))], position=2)
        assert sorted(held(one)) == sorted(held(other)) == ["1", "2"]


def test_readers_follow_when_an_index_takes_anothers_place(tmp_path):
    with Index.open(tmp_path) as reader, Index.open(tmp_path) as writer:
        for round in range(1, 6):
            writer.rebuild([entry(f"{round}")], position=round)
            assert (reader.position, list(held(reader))) == (round, [f"{round}"])
            writer.apply([Put(entry("more"))], position=round)
            assert sorted(held(reader)) == sorted(["more", f"{round}"])


def test_searches_go_on_in_threads_while_all_is_changed_and_rebuilt(tmp_path):
    failed, done = [], threading.Event()

    def search(index):
        while not done.is_set():
            page = index.search(Query(OPEN, "weld", limit=100))
            if not page.total == len(page.hits) == 10:
                failed.append(page.total)

    with Index.open(tmp_path) as index, Index.open(tmp_path) as other:
        index.rebuild([entry(f"{number}") for number in range(10)], position=0)
        threads = [threading.Thread(target=search, args=(each,)) for each in (index, index, other)]
        for thread in threads:
            thread.start()
        for position in range(1, 10):
            if position % 3:
                index.apply([Remove(f"{position}"), Put(entry(f"{position}"))], position=position)
            else:
                index.rebuild([entry(f"{number}") for number in range(10)], position=position)
        done.set()
        for thread in threads:
            thread.join()
    assert not failed


def test_processes_that_come_first_at_the_same_time_all_open(tmp_path):
    opening = "import sys; from pathlib import Path; from test_mesh_search_folder import Index\n"
    opening += "print(Index.open(Path(sys.argv[1])).position)"
    processes = [started(opening, tmp_path / "new") for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == ["0\n"] * 3
