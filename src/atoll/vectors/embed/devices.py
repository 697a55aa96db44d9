"""torch, where it is installed, and the device and precision a user asked for."""

from __future__ import annotations

import importlib
from typing import Any

from atoll.core.errors import InvalidInput

PRECISIONS = ("float32", "bfloat16")


def require_torch() -> Any:
    """Import torch.

    Raises:
        InvalidInput: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InvalidInput(
            "this needs torch, which is not installed: install atoll[torch]", module="torch"
        ) from error


def torch_device(name: str) -> Any:
    """Return the torch device of a name such as "cpu", "cuda" or "cuda:1".

    Raises:
        InvalidInput: there is no such device, or this torch cannot use it.
    """
    torch = require_torch()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidInput(f"device {name!r} is none of cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidInput(f"device {name!r} is none of cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidInput(
            f"device {name!r} is not there: torch {torch.__version__} sees"
            f" {torch.cuda.device_count()} CUDA devices; use cpu or a CUDA build of torch"
        )
    return device


def torch_dtype(precision: str) -> Any:
    """Return the torch dtype of a precision.

    Raises:
        InvalidInput: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    return getattr(require_torch(), precision)
