"""What work printed on its way to LogUri: what is brought when, what is told where that fails."""

import gzip

import pytest

from atoll.app.outputs import put_all
from atoll.core.config import StorageOptions
from atoll.core.errors import NotFound, Unavailable
from atoll.fleet.agent.children import last_words
from atoll.fleet.agent.delivery import PERIOD_SECONDS, Delivery, Parcel
from atoll.fleet.aws.workviews import step_view
from atoll.fleet.life.records import Step
from atoll.fleet.model import StepSpec
from atoll.fleet.states import StepState


class Store:
    """Takes what is brought: the names of files, a list for each time; it may be away."""

    def __init__(self):
        self.times, self.is_away = [], False

    def bring(self, url, parcels):
        if self.is_away:
            raise Unavailable("the store is away")
        self.times.append([one.path.removesuffix(".gz") for one in parcels])


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def brought():
    return Store()


@pytest.fixture
def told():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def later(clock):
    """Let the minute be over, and bring what is due."""

    def later(bring):
        clock.now += PERIOD_SECONDS
        return bring.round()

    return later


@pytest.fixture
def bring(brought, told, clock):
    return delivery(brought, clock, lambda why: told.append(why) or True)


def delivery(store, clock, on_failure, log_uri="s3://logs"):
    return Delivery(log_uri, "j-1", on_failure, bring=store.bring, clock=clock)


def printed(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name in ("stdout", "stderr"):
        (folder / name).write_text(texts.get(name, ""))
    return folder


def test_what_grows_is_brought_each_time_and_with_its_end_the_last_time(
    brought, bring, later, tmp_path
):
    bring.keep("steps/s-1", printed(tmp_path / "1", stdout="a"))
    assert later(bring)
    assert later(bring)  # nothing new
    printed(tmp_path / "1", stdout="ab", stderr="c")
    assert later(bring)
    bring.keep("steps/s-1", tmp_path / "1", "COMPLETED")
    assert bring.round()
    assert later(bring)
    both = ["steps/s-1/stdout", "steps/s-1/stderr"]
    assert brought.times == [["steps/s-1/stdout"], both, [*both, "steps/s-1/controller"]]


def test_what_goes_on_is_not_brought_whenever_something_else_ends(brought, bring, later, tmp_path):
    assert later(bring)
    bring.keep("steps/s-1", printed(tmp_path / "1", stdout="a"))
    bring.keep("steps/s-2", printed(tmp_path / "2"), "COMPLETED")
    assert bring.round()
    assert brought.times == [["steps/s-2/controller"]]


def test_a_store_that_is_away_is_told_of_once_and_gets_all_when_it_is_back(
    brought, bring, later, told, tmp_path
):
    brought.is_away = True
    bring.keep("steps/s-1", printed(tmp_path / "1", stderr="a"), "FAILED")
    assert [later(bring), later(bring)] == [False, False]
    assert told == ["the store is away"]
    brought.is_away = False
    assert later(bring)
    assert brought.times == [["steps/s-1/stderr", "steps/s-1/controller"]]
    brought.is_away = True
    bring.keep("steps/s-2", tmp_path / "2", "FAILED")
    assert not later(bring)
    assert len(told) == 2


def test_a_failure_that_could_not_be_told_is_told_again(brought, clock, later, tmp_path):
    answers = iter([False, True])
    bring = delivery(brought, clock, lambda _: next(answers))
    brought.is_away = True
    bring.keep("steps/s-1", tmp_path, "FAILED")
    assert [later(bring) for _ in range(3)] == [False] * 3
    assert list(answers) == []


def test_without_a_log_uri_nothing_is_brought(brought, clock, later, tmp_path):
    bring = delivery(brought, clock, pytest.fail, log_uri=None)
    bring.keep("steps/s-1", printed(tmp_path / "1", stdout="a"), "COMPLETED")
    assert later(bring)
    assert brought.times == []


def test_the_program_that_brings_says_why_it_cannot(tmp_path, told):
    (tmp_path / "file").touch()
    bring = Delivery(f"{tmp_path}/file", "j-1", lambda why: told.append(why) or True)
    bring.keep("steps/s-1", printed(tmp_path / "1", stdout="a"), "COMPLETED")
    assert not bring.round()
    assert str(tmp_path / "file") in told[0]
    assert "Traceback" not in told[0]


def test_parcels_are_put_in_order_up_to_the_first_that_fails(tmp_path):
    parcels = [Parcel("a.gz", text="x"), Parcel("b/c.gz", str(tmp_path / "no")), Parcel("d.gz")]
    with pytest.raises(NotFound, match="no does not exist"):
        put_all(f"file://{tmp_path}/kept", parcels, StorageOptions())
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["a.gz"]
    assert gzip.decompress((tmp_path / "kept" / "a.gz").read_bytes()) == b"x"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"stdout": "why", "stderr": ""}, "why"),
        ({"stdout": "1234567", "stderr": "why"}, "4567why"),
        ({"stdout": "why", "stderr": "1234567"}, "1234567"[-7:]),
    ],
)
def test_last_words_are_those_on_standard_error_first(tmp_path, texts, words):
    assert last_words(printed(tmp_path / "1", **texts), 7) == words


def test_a_failed_step_names_where_its_errors_are_kept():
    step = Step("s-1", StepSpec("a", ("b",)), StepState.FAILED, 0.0, attempts=2, log="/disk/logs")
    kept = step_view(step, "s3://logs/j-1")["Status"]["FailureDetails"]["LogFile"]
    assert kept == "s3://logs/j-1/steps/s-1/attempt-2/stderr.gz"
    assert step_view(step, None)["Status"]["FailureDetails"]["LogFile"] == "/disk/logs"
