"""The whole post with Atoll's own commands: `python -m bench.post` (`make post`).

FASTA -> vectors -> buckets on an object store -> a stack -> an execution of its state machine ->
CSV, with each index. The object store is Ceph; AWS's other services are emulated, see `EMULATED`.
Everything that is started here has ended when it ends.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from bench import servers

INDEXES = ("rabitq", "ivf_pq")
K = 10
CONCURRENCY = 4
EMULATED = """Real are the object store (Ceph), commands, template, state machine and the handler
under AWS's own runtime client, a process for each call. Emulated, by ministack, are CloudFormation,
Lambda and Step Functions. What that does not show: IAM, limits of memory and time, the start of a
container image, S3's latency. Prices are AWS's; nothing was paid. Vectors come from randconv, the
encoder that needs no weights."""


@dataclass(frozen=True)
class Searched:
    """One index, searched.

    Attributes:
        cold, warm: seconds of each command, from its start to its file: functions' disk caches
            empty, and as the command before left them.
        recall: of the 10 nearest, against --exact.
        bill: what the last cold one says.
        hits: the CSV.
    """

    index: str
    cold: list[float]
    warm: list[float]
    recall: float
    bill: str
    hits: Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it and print what came out."""
    options = _options(arguments)
    if why := servers.absent():
        sys.exit(f"{why}; as root on Debian: apt-get install $(cat debian-packages.txt)")
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="atoll-post-") as scratch,
        servers.ceph_server() as ceph,
        servers.ministack_server() as aws,
    ):
        post = Post(ceph, aws, Path(scratch), options)
        post.embed()
        found = [post.searched(index) for index in options.index or INDEXES]
    for each in found:
        print(_told(each))
    print(f"\n{EMULATED}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.post", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("post"), help="folder of the results")
    parser.add_argument("--proteins", type=int, default=4000, help="of those that Atoll ships")
    parser.add_argument("--bucket-rows", type=int, default=1000)
    parser.add_argument("--index", action="append", choices=INDEXES, help="repeatable; each")
    parser.add_argument("--repeats", type=int, default=5, help="searches, cold and warm each")
    return parser.parse_args(arguments)


class Post:
    """The steps, in order."""

    def __init__(self, ceph: Any, aws: Any, scratch: Path, options: argparse.Namespace) -> None:
        self.store, self.aws, self.out = servers.Store.of(ceph), aws, options.out
        self.options, self.functions = options, scratch / "functions"
        self.bucket = ceph.new_bucket()
        home = scratch / "home"
        home.mkdir()
        self.environment = self.store.environment(home) | {"ATOLL_AWS_ENDPOINT": aws.endpoint}
        self.vectors = self.out / "proteins.h5"
        self.queries = self.out / "queries.fasta.gz"

    def atoll(self, *words: Any) -> tuple[str, float]:
        """Run a command; returns what it says beside its result, and seconds."""
        print(f"$ atoll {' '.join(map(str, words))}", flush=True)
        _, said, seconds = servers.command(*words, "-q", environment=self.environment)
        print(f"  {seconds:.1f} s", flush=True)
        return said, seconds

    def embed(self) -> None:
        """Turn the proteins into vectors."""
        proteins = self.out / "proteins.fasta.gz"
        data = resources.files("atoll.app") / "data"
        self.queries.write_bytes((data / self.queries.name).read_bytes())
        text = gzip.decompress((data / proteins.name).read_bytes()).decode()
        records = text.split("\n>")[: self.options.proteins]
        proteins.write_bytes(gzip.compress("\n>".join(records).encode()))
        self.atoll("embed", proteins, "-o", self.vectors, "--force")

    def searched(self, index: str) -> Searched:
        """Build with an index, deploy, search: cold, then warm, then exactly."""
        url = f"{self.bucket}/{index}"
        rows = self.options.bucket_rows
        self.atoll("create", url, self.vectors, "--bucket-rows", rows, "--index", index)
        template = self.out / f"{index}.yaml"
        self.atoll("deploy", "aws", "--collection", url, "--image", servers.IMAGE,
                   "--out", template, "--force")  # fmt: skip
        stack = servers.deployed(
            self.aws, self.store, template.read_text(), self.functions,
            concurrency=CONCURRENCY, disk_cache=True,
        )  # fmt: skip
        print(f"  stack {stack.name}: {len(stack.resources)} resources")
        hits, exact, local = (self.out / f"{index}{of}.csv" for of in ("", "-exact", "-local"))
        ask = ("search", url, self.queries, "-k", K, "--force")
        via = ("--via", "stepfunctions", "--stack", stack.name, "--bill", "-o", hits)
        times: dict[str, list[float]] = {"cold": [], "warm": []}
        bill = ""
        for kind, seconds in times.items():
            for number in range(self.options.repeats):
                if kind == "cold":
                    shutil.rmtree(self.functions, ignore_errors=True)
                    self.functions.mkdir()
                place = f"{self.bucket}/runs/{index}-{kind}-{number}"
                said, took = self.atoll(*ask, *via, "--results", place)
                seconds.append(took)
                bill = said if kind == "cold" else bill
        self.atoll(*ask, "-o", local)
        assert local.read_bytes() == hits.read_bytes(), "one process finds other hits"
        self.atoll(*ask, "--exact", "-o", exact)
        return Searched(index, **times, recall=_recall(hits, exact), bill=bill, hits=hits)


def _recall(hits: Path, exact: Path) -> float:
    found, true = _pairs(hits), _pairs(exact)
    return len(found & true) / len(true)


def _pairs(path: Path) -> set[tuple[str, str]]:
    with path.open() as file:
        return {(line["query_id"], line["id"]) for line in csv.DictReader(file)}


def _told(one: Searched) -> str:
    lines = [
        f"\n{one.index}: p50 of {len(one.cold)} searches, from command to CSV: cold "
        f"{median(one.cold):.1f} s, warm {median(one.warm):.1f} s; recall@{K} {one.recall:.3f} "
        f"against --exact; {one.hits}, equal byte by byte to that of one process",
        one.bill.rstrip(),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
