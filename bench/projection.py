"""From measured rates to the post's 3.5 billion vectors, step by step.

`python -m bench.projection` prints the steps from the JSONs of the last runs.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

from bench import report

# What the post states: 3.5 billion vectors of 960 dimensions in buckets of 200 million, built in
# 108 hours of i4i.8xlarge, 12.9 TiB. So 9,002 vectors/s an instance, 281 a vCPU.
POST_ROWS = 3_500_000_000
POST_BUCKET_ROWS = 200_000_000
POST_HOURS = 108
POST_VCPUS = 32
POST_RATE = 281
POST_TIB = 12.9
# A vCPU is a hyperthread: two to a core, and the second is counted as nothing here.
CORES = POST_VCPUS // 2
# The instance's network, Gbit/s, from its data sheet; not measured.
NETWORK_GBIT = 18.75
SOURCE_BYTES = 960 * 4
HOUR_S = 3600


@dataclass(frozen=True)
class Rates:
    """What was measured.

    Attributes:
        vectors_per_cpu_s: ingest and index at 14,142 partitions, one slice.
        training_cpu_s: creating and training the model for them, once for a collection.
        stored_bytes: a vector on storage, index included.
        busy: share of the cores' time that the largest build here kept busy; 1 assumes all.
        largest: that build, in words; empty where it has not run.
    """

    vectors_per_cpu_s: float
    training_cpu_s: float
    stored_bytes: float
    busy: float = 1.0
    largest: str = ""


def steps(rates: Rates) -> list[str]:
    """Write the projection out, a line for each step; what is assumed is said."""
    buckets = math.ceil(POST_ROWS / POST_BUCKET_ROWS)
    an_instance = rates.vectors_per_cpu_s * rates.busy * CORES
    training_h = rates.training_cpu_s / (CORES * rates.busy) / HOUR_S
    build_h = POST_ROWS / an_instance / HOUR_S
    stored = POST_ROWS * rates.stored_bytes
    moved = POST_ROWS * SOURCE_BYTES + stored
    network_h = moved * 8 / (NETWORK_GBIT * 1e9) / HOUR_S
    hours = max(build_h, network_h) + training_h
    return [
        f"1. {POST_ROWS:,} rows in buckets of {POST_BUCKET_ROWS:,}: {buckets} buckets.",
        f"2. Measured on one slice: {rates.vectors_per_cpu_s:,.0f} vectors per CPU-second.",
        f"3. Of the cores' time {rates.busy:.0%} was busy in the largest build"
        f" ({rates.largest or 'not run, so assumed'}):"
        f" {rates.vectors_per_cpu_s * rates.busy:,.0f} vectors/s a core.",
        f"4. The post's i4i.8xlarge has {POST_VCPUS} vCPUs, {CORES} cores, taken to be as fast as"
        f" ours: {an_instance:,.0f} vectors/s; the post reached {POST_RATE * POST_VCPUS:,}.",
        f"5. Training the model, once: {rates.training_cpu_s:,.0f} CPU-s, {training_h:.2f} h.",
        f"6. A bucket: {POST_BUCKET_ROWS / an_instance / HOUR_S:.2f} h; all rows:"
        f" {build_h:.1f} hours of one instance.",
        f"7. Storage: {rates.stored_bytes:,.0f} B a vector: {stored / 2**40:.2f} TiB;"
        f" the post: {POST_TIB} TiB.",
        f"8. Network: {moved / 2**40:.1f} TiB read and written at {NETWORK_GBIT} Gbit/s:"
        f" {network_h:.1f} h, beside the computing, at best.",
        f"9. Together: {hours:.1f} instance hours against {POST_HOURS}, {POST_HOURS / hours:.1f}"
        f" times fewer; n instances, a bucket each, divide them by n up to {buckets}.",
        "Not covered: S3's latency and throttling, memory bandwidth with 16 cores busy, the merge"
        " of a bucket's runs when 200 million rows spill.",
    ]


def from_results(folder: Path) -> Rates | None:
    """Read the rates of the last runs; None while the partitions or the index bench is missing."""
    sliced, index_path = folder / "partitions.json", folder / "index.json"
    if not (sliced.exists() and index_path.exists()):
        return None
    found, stored = json.loads(sliced.read_text()), json.loads(index_path.read_text())["stored"]
    huge = folder / "nightly" / "huge.json"
    built = json.loads(huge.read_text()) if huge.exists() else {"busy": 1.0, "largest": ""}
    return Rates(
        vectors_per_cpu_s=found["rate"],
        training_cpu_s=found["trained"]["cpu_s"],
        stored_bytes=stored["bytes"] / stored["rows"],
        busy=built["busy"],
        largest=built["largest"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.projection", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--results", type=Path, default=report.ROOT / "bench" / "results")
    rates = from_results(parser.parse_args().results)
    if rates is None:
        raise SystemExit("no partitions.json and index.json there: run `make bench` first")
    print("\n".join(steps(rates)))


if __name__ == "__main__":
    main()
