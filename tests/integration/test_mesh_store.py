"""What the store promises, on both databases: whole changes, one after another, lasting."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from mesh_world import STAMP

from atoll.core import threads as threads_module
from atoll.core.errors import (
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.mesh.model.organisation import Project
from atoll.mesh.store import database as database_module
from atoll.mesh.store import postgres as postgres_module
from atoll.mesh.store.database import opened, writing_to
from atoll.mesh.store.tables import METADATA
from atoll.mesh.store.upgrading import upgrade
from atoll.mesh.store.writing import Store

PATIENCE_S = 60


@pytest.fixture
def engine(database):
    engine = opened(database)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def notes():
    return []


@pytest.fixture
def store(engine, notes):
    store = Store(engine, lambda _, batch: notes.extend(batch))
    yield store
    store.close()


def project(id_, **values):
    return Project(**{"id": id_, "name": id_, "domain_unit_id": "unit-a"} | STAMP | values)


def test_what_was_added_is_found_by_its_keys_in_the_order_of_ids(store):
    for id_ in ("c", "a", "b"):
        store.write(lambda changes, id_=id_: changes.add(project(id_)))
    with store.reading() as reader:
        assert reader.get(Project, "b") == project("b")
        assert [one.id for one in reader.all(Project, domain_unit_id="unit-a")] == ["a", "b", "c"]
        assert [one.id for one in reader.all(Project, after="a", name=["c", "a"])] == ["c"]
        assert reader.count(Project, domain_unit_id="unit-b") == 0
        with pytest.raises(NotFound, match="there is no project 'x'"):
            reader.get(Project, "x")


def test_more_than_a_page_is_read_whole(store, monkeypatch):
    monkeypatch.setattr("atoll.mesh.store.reading.PAGE_ROWS", 3)
    monkeypatch.setattr("atoll.mesh.store.reading._PAGES", {})  # which hold it
    store.write(lambda changes: [changes.add(project(f"p{n:02}")) for n in range(9)])
    with store.reading() as reader:
        assert [one.id for one in reader.all(Project)] == [f"p{n:02}" for n in range(9)]


def test_locations_in_a_place_or_around_it_are_found_by_letters_alone(store):
    place = "s3://plant/a_%"
    found = ["s3://plant", "s3://plant/a_%", "s3://plant/a_%/B", "s3://plant/a_%/b/c"]
    others = ["s3://plant/ab%/c", "s3://plant/A_%/b", "s3://plant/a_%-", "s3://pl", "s3://plant/b"]
    for name in found + others:
        store.write(lambda changes, name=name: changes.add(project(name)))
    with store.reading() as reader:
        assert sorted(reader.overlaps(Project, "name", place)) == found


def test_a_change_that_fails_leaves_nothing_and_the_others_of_its_batch_last(store, notes):
    def broken(changes):
        changes.add(project("lost"))
        changes.notes.append("lost")
        raise InvalidInput("no")

    def kept(changes):
        changes.add(project("kept"))
        changes.notes.append("kept")

    assert together(store, broken, kept) == [InvalidInput, None]
    with store.reading() as reader:
        assert [one.id for one in reader.all(Project)] == ["kept"]
    assert notes == ["kept"]


def together(store, *works):
    """Hand in changes that share a batch; return the types of what they raise."""
    held = threading.Event()
    with ThreadPoolExecutor(len(works) + 1) as threads:
        threads.submit(store.write, lambda _: held.wait(PATIENCE_S))
        await_(store._waiting.empty)
        done = []
        for number, work in enumerate(works, 1):
            done.append(threads.submit(store.write, work))
            await_(lambda number=number: store._waiting.qsize() == number)
        held.set()
        return [type(one.exception()) if one.exception() else None for one in done]


def await_(is_so):
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.001)


class Panic(BaseException):
    """As Rust's."""


def test_a_panic_in_a_change_is_told_and_the_thread_lives_on(store):
    def panics(_):
        raise Panic

    assert together(store, panics, lambda changes: changes.add(project("a"))) == [Unavailable, None]
    store.write(lambda changes: changes.add(project("b")))


def test_a_connection_that_is_lost_among_changes_is_told_to_all_of_them(
    postgres, postgres_template
):
    store = Store(opened(postgres.new_database(postgres_template)), lambda *_: None)

    def hang_up(changes):
        changes._connection.connection.dbapi_connection.close()
        changes.add(project("b"))

    works = [lambda changes, id_=id_: changes.add(project(id_)) for id_ in "acd"]
    assert together(store, works[0], hang_up, *works[1:]) == [Unavailable] * 4
    store.write(lambda changes: changes.add(project("e")))
    with store.reading() as reader:
        assert [one.id for one in reader.all(Project)] == ["e"]
    store.close()


def test_who_was_refused_tells_nobody_else_so_when_the_connection_is_lost(
    postgres, postgres_template
):
    store = Store(opened(postgres.new_database(postgres_template)), lambda *_: None)

    def refused(changes):
        changes._connection.connection.dbapi_connection.close()
        raise Forbidden("you may not")

    works = [lambda changes, id_=id_: changes.add(project(id_)) for id_ in "ac"]
    found = together(store, works[0], refused, works[1])
    assert found == [Unavailable, Forbidden, Unavailable]
    store.write(works[0])
    store.close()


@pytest.fixture
def freezing(postgres, postgres_template, monkeypatch):
    """A store, and what stops the server's process in the midst of a change."""
    monkeypatch.setattr(postgres_module, "ANSWER_S", 0.5)
    store, stopped = Store(opened(postgres.new_database(postgres_template)), lambda *_: None), []

    def freeze(changes):
        stopped.append(changes._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
        os.kill(stopped[-1], signal.SIGSTOP)
        changes.add(project("a"))

    def thaw():
        while stopped:
            os.kill(stopped.pop(), signal.SIGCONT)

    yield store, freeze, thaw
    thaw()


def test_a_server_that_is_frozen_is_not_waited_for_without_end(freezing):
    store, freeze, thaw = freezing
    with pytest.raises(Unavailable, match="the database does not answer"):
        store.write(freeze)
    with store.reading() as reader:
        assert reader.count(Project) == 0
    thaw()
    store.write(lambda changes: changes.add(project("b")))
    store.close()


def test_a_store_closes_though_the_server_is_frozen(freezing, monkeypatch, caplog):
    store, freeze, thaw = freezing
    monkeypatch.setattr(postgres_module, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(threads_module, "CLOSE_SECONDS", 0.2)
    begun = threading.Event()
    writing = threading.Thread(
        target=lambda: store.write(lambda changes: begun.set() or freeze(changes)), daemon=True
    )
    writing.start()
    begun.wait(PATIENCE_S)
    pool = store.engine.pool
    store.close()
    assert "a change is left unfinished" in caplog.text
    thaw()
    writing.join()
    pool.dispose()


def test_a_statement_that_takes_too_long_is_given_up_by_the_server(
    postgres, postgres_template, monkeypatch, caplog
):
    monkeypatch.setattr(database_module, "STATEMENT_MS", 200)
    store = Store(opened(postgres.new_database(postgres_template)), lambda *_: None)
    with pytest.raises(Unavailable), store.reading() as reader:
        reader._connection.exec_driver_sql("SELECT pg_sleep(60)")
    assert "statement timeout" in caplog.text
    store.close()


@pytest.mark.sqlite
def test_a_disk_that_is_full_is_told_to_all_of_a_batch_and_nothing_of_it_lasts(tmp_path, caplog):
    engine = opened(f"sqlite:///{tmp_path}/mesh.db")
    upgrade(engine)
    store = Store(engine, lambda *_: None)

    def fill(changes):
        pages = changes._connection.exec_driver_sql("PRAGMA page_count").scalar()
        changes._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        changes.add(project("b", description="x" * 100_000))

    works = [lambda changes, id_=id_: changes.add(project(id_)) for id_ in "ac"]
    assert together(store, works[0], fill, works[1]) == [Unavailable] * 3
    with pytest.raises(Unavailable):
        store.write(fill)
    assert "full" in caplog.text
    with store.reading() as reader:
        assert reader.count(Project) == 0
    store.close()


def test_what_a_database_cannot_hold_is_the_callers_fault(postgres, postgres_template):
    store = Store(opened(postgres.new_database(postgres_template)), lambda *_: None)
    with pytest.raises(InvalidInput, match="no such value"), store.reading() as reader:
        reader.find(Project, "a\0")
    with pytest.raises(InvalidInput, match="no such value"):
        store.write(lambda changes: changes.add(project("a", name="\0")))
    store.close()


def test_what_is_handed_in_while_a_store_closes_is_done_or_told(engine):
    store, ended = Store(engine, lambda *_: None), []

    def keep_on():
        with suppress(Unavailable):
            while True:
                store.write(lambda _: None)
        ended.append(True)

    threads = [threading.Thread(target=keep_on, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(ended) == len(threads)


def test_unique_keys_are_kept_and_the_thread_lives_on(store):
    store.write(lambda changes: changes.add(project("a", name="same")))
    with pytest.raises(Conflict, match="the name 'same' is taken by another project"):
        store.write(lambda changes: changes.add(project("b", name="same")))
    store.write(lambda changes: changes.add(project("c")))


def test_of_two_who_change_the_same_version_one_is_told(store):
    store.write(lambda changes: changes.add(project("a")))
    store.write(lambda changes: changes.put(project("a", version=2, description="first")))
    with pytest.raises(Conflict, match="was changed meanwhile"):
        store.write(lambda changes: changes.put(project("a", version=2, description="second")))
    with store.reading() as reader:
        assert reader.get(Project, "a").description == "first"


def test_increments_from_many_threads_are_all_counted(store):
    store.write(lambda changes: changes.add(project("a", description="0")))

    def count(changes):
        found = changes.get(Project, "a")
        number = int(found.description) + 1
        changes.put(project("a", version=found.version + 1, description=str(number)))

    threads = [
        threading.Thread(target=lambda: [store.write(count) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as reader:
        assert reader.get(Project, "a").description == "80"


def test_two_stores_on_one_database_wait_for_each_other(engine, database, store):
    other = Store(opened(database), lambda *_: None)
    store.write(lambda changes: changes.add(project("a", description="0")))

    def count(changes):
        found = changes.get(Project, "a")
        number = int(found.description) + 1
        changes.put(project("a", version=found.version + 1, description=str(number)))

    threads = [
        threading.Thread(target=lambda one=one: [one.write(count) for _ in range(10)])
        for one in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    with store.reading() as reader:
        assert reader.get(Project, "a").description == "20"


def test_a_block_of_reads_sees_one_moment(store):
    store.write(lambda changes: changes.add(project("a")))
    with store.reading() as reader:
        assert reader.count(Project) == 1
        store.write(lambda changes: changes.add(project("b")))
        assert reader.count(Project) == 1


def test_notes_that_cannot_be_kept_undo_the_change(engine):
    def full(*_):
        raise Unavailable("the audit is full")

    store = Store(engine, full)
    with pytest.raises(Unavailable, match="the audit is full"):
        store.write(lambda changes: changes.add(project("a")))
    with store.reading() as reader:
        assert reader.count(Project) == 0
    store.close()


def test_a_closed_store_says_so(engine):
    store = Store(engine, lambda *_: None)
    store.close()
    with pytest.raises(Unavailable, match="stopping"):
        store.write(lambda changes: changes.add(project("a")))


def test_the_steps_make_the_tables_that_the_records_want(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []


def test_a_database_of_a_newer_atoll_is_left_alone(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="newer Atoll"):
        upgrade(engine)


@pytest.mark.parametrize("url", ["", "mesh.db", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_database_is_said_so(url):
    with pytest.raises(InvalidInput, match="database"):
        opened(url)


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_corrupt(tmp_path):
    (tmp_path / "mesh.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Corrupt, match="damaged"):
        upgrade(opened(f"sqlite:///{tmp_path}/mesh.db"))


def test_a_server_that_is_gone_is_unavailable_and_only_the_log_says_where(caplog):
    with pytest.raises(Unavailable) as told:
        upgrade(opened("postgresql://somebody:secret@127.0.0.1:1/mesh?connect_timeout=2"))
    assert str(told.value) == f"the database {database_module.NO_ANSWER}"
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.sqlite
def test_a_locked_file_is_unavailable_and_works_again_afterwards(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("atoll.mesh.store.database.BUSY_MS", 100)
    url = f"sqlite:///{tmp_path}/mesh.db"
    engine, other = opened(url), opened(url)
    upgrade(engine)
    store = Store(engine, lambda *_: None)
    with other.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable):
            store.write(lambda changes: changes.add(project("a")))
        assert "locked" in caplog.text
        connection.exec_driver_sql("ROLLBACK")
    store.write(lambda changes: changes.add(project("a")))
    store.close()
    other.dispose()


def test_a_server_that_froze_in_a_change_holds_the_others_up_for_a_while_only(
    postgres, postgres_template, monkeypatch
):
    monkeypatch.setattr(database_module, "IDLE_MS", 500)
    url = postgres.new_database(postgres_template)
    store, frozen = Store(opened(url), lambda *_: None), opened(url)
    with pytest.raises(sa.exc.DBAPIError), writing_to(frozen):
        store.write(lambda changes: changes.add(project("a")))
    with store.reading() as reader:
        assert reader.count(Project) == 1
    store.close()
    frozen.dispose()


def test_a_change_that_waits_too_long_for_another_servers_is_given_up(
    postgres, postgres_template, monkeypatch, caplog
):
    monkeypatch.setattr(database_module, "LOCK_MS", 200)
    url = postgres.new_database(postgres_template)
    store, other = Store(opened(url), lambda *_: None), opened(url)
    with writing_to(other), pytest.raises(Unavailable):
        store.write(lambda changes: changes.add(project("a")))
    assert "lock timeout" in caplog.text
    store.write(lambda changes: changes.add(project("a")))
    store.close()
    other.dispose()


def test_no_error_of_the_database_shows_what_is_kept(engine):
    with pytest.raises(sa.exc.DBAPIError) as told, engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:key)"), {"key": "hunter2"})
    assert "hunter2" not in str(told.value)
