"""A Spark job that takes a while and whose result shows every row lost or doubled.

    spark-submit fleetjob.py OUT PARTITIONS SECONDS

Counts and adds up 1000 rows a partition, each partition a task that takes so many seconds, and
writes both numbers to OUT. It is run as a step: nothing of this package can be imported here.
"""

import sys
import time
from pathlib import Path

from pyspark import SparkContext

ROWS = 1000


def main(out, partitions, seconds):
    def slowly(rows):
        time.sleep(seconds)
        return rows

    with SparkContext(appName="job") as context:
        rows = context.parallelize(range(ROWS * partitions), partitions).mapPartitions(slowly)
        count, total = rows.map(lambda row: (1, row)).reduce(
            lambda a, b: (a[0] + b[0], a[1] + b[1])
        )
    Path(out).write_text(f"{count} {total}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
