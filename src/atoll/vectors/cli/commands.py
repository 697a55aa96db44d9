"""All commands of collections."""

from atoll.vectors.cli.building import add, adopt, create, plan, upsert
from atoll.vectors.cli.distributing import batch_search, step, warm
from atoll.vectors.cli.estimating import estimate
from atoll.vectors.cli.life import (
    compact,
    delete,
    drop_bucket,
    gc,
    history,
    index,
    info,
    restore,
    retrain,
    verify,
)
from atoll.vectors.cli.measuring import bench_here, calibrate
from atoll.vectors.cli.searching import export, search

COMMANDS = (
    plan, bench_here, estimate, create, add, upsert, delete, compact, retrain, adopt, index, info,
    verify, history, restore, export, drop_bucket, gc, calibrate, search, batch_search, step, warm,
)  # fmt: skip
