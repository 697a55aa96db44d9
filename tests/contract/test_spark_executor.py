import os
import signal
import time
from pathlib import Path

import pytest
from spark_cluster import spark_cluster

from atoll.compute.spark import SparkExecutor
from atoll.compute.sparkcluster import find_cluster
from atoll.core.errors import Conflict, InvalidInput, Unavailable
from atoll.testing.executor_contract import ExecutorContract


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with spark_cluster(tmp_path_factory.mktemp("spark")) as found:
        yield found


@pytest.fixture(scope="module")
def executor(cluster):
    # They are in the environment before anything is started.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
        patch.setenv("ATOLL_MEMORY", "1G")
        with SparkExecutor(cluster.url, shares_files=True) as found:
            found.map(len, ["abc"])
            yield found


class TestSpark(ExecutorContract):
    isolates = True

    @pytest.fixture(autouse=True)
    def on_the_cluster(self, executor):
        self.executor = executor

    def make(self, workers):
        return self.executor


def test_a_task_that_lost_its_machine_is_tried_again(executor, tmp_path):
    outcomes = executor.map(_kill_sparks_process_at_first, [(tmp_path, n) for n in range(3)])
    assert [outcome.value for outcome in outcomes] == [0, 1, 2]
    assert max(outcome.attempts for outcome in outcomes) > 1


def test_a_task_that_exists_only_here_is_a_clear_error(executor):
    [outcome] = executor.map(lambda item: item, [1], name=lambda _: "bucket_0")
    assert isinstance(outcome.error, InvalidInput)
    assert "bucket_0 cannot be sent to a worker process" in str(outcome.error)
    assert outcome.attempts == 0


def test_a_second_application_in_one_process_is_refused(cluster, executor):
    executor.map(len, ["abc"])
    with pytest.raises(Conflict, match="has a Spark application already"):
        SparkExecutor(cluster.url).map(len, ["abc"])


def test_tasks_may_use_what_the_workers_have(cluster, executor):
    assert executor.workers == len(cluster.workers)
    assert executor.room.memory_bytes == len(cluster.workers) * 512 << 20


def test_ctrl_c_stays_ours(executor):
    executor.map(len, ["abc"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_keys_reach_neither_the_cluster_nor_its_logs(cluster, executor):
    [outcome] = executor.map(_environment, ["AKIA-IN-AN-ITEM"])
    assert "AWS_SECRET_ACCESS_KEY" not in outcome.value
    assert set(_jvm_environment(executor)).isdisjoint({"AWS_SECRET_ACCESS_KEY", "ATOLL_MEMORY"})
    logs = [path for path in cluster.folder.rglob("*") if path.is_file() and "log" in path.name]
    assert logs
    assert not [path for path in logs if "AKIA-IN-AN-ITEM" in path.read_text(errors="replace")]


def test_a_url_that_names_no_master_is_refused():
    with pytest.raises(InvalidInput, match="'local' does not name Spark's masters"):
        SparkExecutor("local")


def test_masters_that_do_not_answer_are_named():
    with pytest.raises(Unavailable, match=r"127\.79\.0\.1:8080 did not answer"):
        find_cluster("spark://127.79.0.1:7077", wait_s=0)


def _kill_sparks_process_at_first(item):
    folder, number = item
    mark = folder / str(number)
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return number


def _environment(_):
    return sorted(os.environ)


def _jvm_environment(executor):
    pid = executor._driver._context._gateway.proc.pid
    return Path(f"/proc/{pid}/environ").read_text().replace("=", "\0").split("\0")
