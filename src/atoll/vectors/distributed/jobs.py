"""Submits jobs to AWS Batch, one after the other or many at once, and waits for them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.progress import OnProgress, Progress
from atoll.storage.s3 import aws_errors
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.options import INDEX_VARIABLES

POLL_SECONDS = 0.5
# Jobs of hours need not be asked after twice a second.
SLOWEST_POLL_SECONDS = 10.0
SLOWER = 1.1
# Limits of AWS Batch.
MAX_ARRAY = 10_000
MAX_NAME = 128
# Times in turn that AWS may fail to say how jobs are.
MOST_REFUSED = 10
DESCRIBED_AT_ONCE = 100


@dataclass(frozen=True)
class JobQueue:
    """The queue of a deployment.

    Attributes:
        client: of boto3, for Batch.
        deployment: names the queue and the job definitions.
    """

    client: Any
    deployment: Deployment

    def submit(
        self,
        definition: str,
        name: str,
        *,
        size: int | None = None,
        after: str | None = None,
        parameters: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> str:
        """Submit a job.

        Args:
            definition: output of the stack that names the job definition.
            name: for people; shortened if need be.
            size: of an array, each child of which has an index from 0; None for no array.
            after: id of the job, arrays included, that must have ended well before.
            parameters: fill in the definition's command.
            command: words that take its place.

        Returns:
            The job's id.

        Raises:
            InvalidInput: the array is too large, or AWS refuses the request.
            Forbidden, NotFound, Unavailable: as AWS says.
        """
        if size is not None and size > MAX_ARRAY:
            raise InvalidInput(
                f"AWS Batch runs at most {MAX_ARRAY:,} jobs of an array, not {size:,}; make fewer "
                "and larger buckets or parts",
                size=size,
            )
        overrides: dict[str, Any] = {"command": list(command)} if command else {}
        more: dict[str, Any] = {}
        if size == 1:
            # An array has at least two children; one alone is told its index by us.
            overrides["environment"] = [{"name": INDEX_VARIABLES[1], "value": "0"}]
        elif size:
            more["arrayProperties"] = {"size": size}
        with aws_errors(f"job {name}"):
            answer = self.client.submit_job(
                jobName=name[:MAX_NAME],
                jobQueue=self.deployment["JobQueue"],
                jobDefinition=self.deployment[definition],
                parameters=dict(parameters or {}),
                dependsOn=[{"jobId": after}] if after else [],
                containerOverrides=overrides,
                **more,
            )
        return str(answer["jobId"])

    def wait(
        self, jobs: Sequence[str], what: str, on_progress: OnProgress, *, is_all: bool = True
    ) -> None:
        """Wait until jobs have ended well.

        Args:
            jobs: their ids.
            what: they are for.
            on_progress: told how many have ended.
            is_all: whether all must end well; else it is enough that they end.

        Raises:
            Unavailable: one failed.
        """
        pause, refused = POLL_SECONDS, 0
        while True:
            try:
                found, refused = self._described(jobs), 0
            except Unavailable:
                # The jobs go on, whatever happens to who waits for them.
                if (refused := refused + 1) > MOST_REFUSED:
                    raise
                found = {}
            for job in jobs:
                # A job that was just submitted may not be known yet.
                if is_all and found.get(job, {}).get("status") == "FAILED":
                    raise self._failure(found[job], what)
            ended = {"SUCCEEDED"} if is_all else {"SUCCEEDED", "FAILED"}
            done = sum(found.get(job, {}).get("status") in ended for job in jobs)
            on_progress(Progress("wait for AWS Batch", done, len(jobs), "jobs"))
            if done == len(jobs):
                return
            time.sleep(pause)
            pause = min(SLOWEST_POLL_SECONDS, pause * SLOWER)

    def _described(self, jobs: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        with aws_errors("AWS Batch"):
            for first in range(0, len(jobs), DESCRIBED_AT_ONCE):
                some = list(jobs[first : first + DESCRIBED_AT_ONCE])
                answer = self.client.describe_jobs(jobs=some)
                found |= {job["jobId"]: job for job in answer["jobs"]}
        return found

    def _failure(self, job: Mapping[str, Any], what: str) -> Unavailable:
        why = job.get("statusReason", "no reason is given")
        children = self._failed_children(job) if job.get("arrayProperties", {}).get("size") else []
        which = f", of its array index {', '.join(map(str, children))}" if children else ""
        return Unavailable(
            f"job {job['jobId']} of {what} failed{which}: {why}; see its log",
            job=job["jobId"],
            indexes=children,
        )

    def _failed_children(self, job: Mapping[str, Any]) -> list[int]:
        with aws_errors("AWS Batch"):
            answer = self.client.list_jobs(arrayJobId=job["jobId"], jobStatus="FAILED")
        found = answer["jobSummaryList"]
        return sorted(each["arrayProperties"]["index"] for each in found)
