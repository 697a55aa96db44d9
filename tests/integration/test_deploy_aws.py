"""The template created and its state machine executed, by two interpreters; steps are fakes."""

import json

import pytest
from aws_servers import deploy
from fake_steps import calls

from atoll.deploy.render import SearchStack, render

STEP_TIMEOUT = 8
IMAGE = "registry.example/atoll:1"


# Each interpreter and each kind of map; the other two pairs run in test_search_on_aws.py. Of maps
# that are distributed moto returns no result, which a run's folder makes up for and fakes do not.
PAIRS = (("ministack", "distributed"), ("moto_aws", "inline"))


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def stack(request):
    name, map_mode = request.param
    server = request.getfixturevalue(name)
    bucket = server.new_bucket()
    wanted = SearchStack(f"s3://{bucket}/vectors", image=IMAGE, map_mode=map_mode)
    return deploy(
        server,
        render(wanted),
        handler="fake_steps.handler",
        parameters={"MaxConcurrency": 2, "StepTimeout": STEP_TIMEOUT},
    )


@pytest.fixture
def run(tmp_path):
    """Make a run of a scenario; return its folder."""

    def make(**scenario):
        (tmp_path / "calls").mkdir()
        (tmp_path / "scenario.json").write_text(json.dumps(scenario))
        return tmp_path

    return make


def places(folder):
    return [call["place"] for call in calls(folder)]


def test_each_bucket_is_searched_once_and_what_they_found_refined(stack, run):
    folder = run(buckets=5)
    result = stack.result(str(folder))
    assert result["searched"] == [{"bucket": bucket} for bucket in range(5)]
    assert result["failed_buckets"] == {}
    seen = places(folder)
    assert (seen[0], seen[-1]) == ("plan", "refine")
    assert sorted(seen[1:-1]) == [f"search-{bucket}" for bucket in range(5)]


def test_transient_failure_is_tried_again(stack, run):
    folder = run(buckets=3, **{"search-1": {"error": "Unavailable", "times": 2}})
    assert stack.result(str(folder))["failed_buckets"] == {}
    assert places(folder).count("search-1") == 3
    assert places(folder).count("search-0") == 1


def test_poison_bucket_is_named_with_its_error_and_not_tried_again(stack, run):
    folder = run(buckets=3, **{"search-1": {"error": "Corrupt"}})
    result = stack.result(str(folder))
    assert result["failed_buckets"] == {"1": "Corrupt"}
    assert [item["bucket"] for item in result["searched"]] == [0, 1, 2]
    # Causes may be long, and all of them pass from state to state; they stand in the run's folder.
    assert result["searched"][1] == {"bucket": 1, "error": {"Error": "Corrupt"}}
    assert places(folder).count("search-1") == 1


def test_bucket_that_takes_too_long_is_named(stack, run):
    folder = run(buckets=2, **{"search-0": {"seconds": 60}})
    result = stack.result(str(folder))
    assert list(result["failed_buckets"]) == ["0"]
    # ministack ends the process and says so, AWS and moto name the time.
    said = result["searched"][0]["error"]["Error"]
    assert said in {"Sandbox.Timedout", "States.Timeout", "Runtime.ExitError"}


def test_bucket_whose_function_dies_is_named(stack, run):
    folder = run(buckets=2, **{"search-0": {"dies": True}})
    assert stack.result(str(folder))["failed_buckets"] == {"0": "Runtime.ExitError"}


def test_parts_are_folded_where_there_are_groups(stack, run):
    folder = run(buckets=2, groups=3)
    assert stack.result(str(folder))["failed_buckets"] == {}
    seen = places(folder)
    assert sorted(seen[3:-1]) == ["fold-0", "fold-1", "fold-2"]
    assert seen[-1] == "refine"


def test_buckets_measure_their_candidates_where_the_plan_says_so(stack, run):
    folder = run(buckets=2, groups=1, is_measured=True)
    assert stack.result(str(folder))["failed_buckets"] == {}
    seen = places(folder)
    assert (seen[3], *sorted(seen[4:6])) == ("fold-0", "measure-0", "measure-1")
    assert seen[6:] == ["refine"]


def test_bucket_that_cannot_measure_is_left_to_refining(stack, run):
    folder = run(buckets=2, is_measured=True, **{"measure-1": {"error": "Corrupt"}})
    result = stack.result(str(folder))
    assert result["failed_buckets"] == {}
    assert [item["bucket"] for item in result["searched"]] == [0, 1]


def test_buckets_are_filtered_once_before_the_plan(stack, run):
    folder = run(buckets=2, is_filtered=True)
    assert stack.result(str(folder))["failed_buckets"] == {}
    seen = places(folder)
    assert sorted(seen[1:3]) == ["filter-0", "filter-1"]
    assert (seen[0], seen[3]) == ("plan", "plan")
    assert sorted(seen[4:]) == ["refine", "search-0", "search-1"]


def test_plan_is_told_which_buckets_could_not_be_filtered(stack, run):
    folder = run(buckets=2, is_filtered=True, **{"filter-1": {"error": "Corrupt"}})
    stack.result(str(folder))
    last = [call for call in calls(folder) if call["place"] == "plan"][-1]
    told = last["event"]["filtered"]
    assert told[0] == {"bucket": 0}
    assert (told[1]["bucket"], told[1]["error"]["Error"]) == (1, "Corrupt")


def test_no_more_buckets_than_allowed_are_under_way(stack, run):
    folder = run(buckets=6, **{f"search-{bucket}": {"seconds": 0.3} for bucket in range(6)})
    stack.result(str(folder))
    moments = [
        (moment, step)
        for call in calls(folder)
        if call["place"].startswith("search")
        for moment, step in ((call["started"], 1), (call["ended"], -1))
    ]
    under_way, most = 0, 0
    for _, step in sorted(moments):
        under_way += step
        most = max(most, under_way)
    assert most == 2


def test_search_without_a_plan_fails_with_the_error_of_the_plan(stack, run):
    folder = run(buckets=1, plan={"error": "NotFound"})
    found = stack.run(str(folder))
    assert (found["status"], found["error"]) == ("FAILED", "NotFound")
    assert places(folder) == ["plan"]
