"""The embedding models: what one is, which there are, how to load one by name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput, NotFound
from atoll.vectors.embed.devices import PRECISIONS
from atoll.vectors.model import Embedder

DEFAULT_MODEL = "randconv"
DEFAULT_BATCH_TOKENS = 16_384


class Model(Protocol):
    """Turns sequences into vectors.

    Attributes:
        embedder: what is recorded with every vector.
        window_rows: how many sequences are worth giving at once.
    """

    embedder: Embedder
    window_rows: int

    def embed(self, sequences: Sequence[str]) -> NDArray[np.float32]:
        """Embed sequences, one (dim,) float32 row each.

        A row does not depend on the other sequences beyond 1e-5. Sequences of any number and
        length are taken: the model makes its own batches and cuts what is too long for it.

        Raises:
            InvalidInput: a sequence is empty.
        """
        ...


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and run.

    Attributes:
        path: local folder of the published weights; None where the model needs none.
        device: "cpu", "cuda" or "cuda:N".
        precision: "float32" or "bfloat16".
        batch_tokens: residues, padding included, in one batch of a torch model; more is faster
            until memory runs out.
        threads: processors to use.
    """

    path: Path | None = None
    device: str = "cpu"
    precision: str = "float32"
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    threads: int = 1


class ModelFactory(Protocol):
    """What the registry names: a class made from options."""

    def __call__(self, options: ModelOptions) -> Model:
        """Load the model."""
        ...


@dataclass(frozen=True)
class Registered:
    """Where a model's class is, which extra brings its libraries, whether it needs a folder."""

    where: str
    extra: str = ""
    needs_path: bool = False


# A class is imported when it is first asked for.
REGISTRY = {
    "randconv": Registered("atoll.vectors.embed.randconv:RandConv"),
    "amplify": Registered("atoll.vectors.embed.amplify:Amplify", "torch", needs_path=True),
    "esm2": Registered("atoll.vectors.embed.esm2:Esm2", "esm", needs_path=True),
}


def load_model(name: str = DEFAULT_MODEL, options: ModelOptions | None = None) -> Model:
    """Load an embedding model by name.

    Args:
        name: a name in `REGISTRY`.
        options: how to load and run it.

    Raises:
        InvalidInput: unknown name, device or precision, a folder is missing or not wanted, or a
            library is not installed (the message names the extra).
        NotFound: the folder, or a file in it, is not there.
        Corrupt: the weights are not those of such a model.
    """
    options = options or ModelOptions()
    if name not in REGISTRY:
        raise InvalidInput(f"model {name!r} is none of {', '.join(REGISTRY)}", model=name)
    known = REGISTRY[name]
    if known.needs_path and options.path is None:
        raise InvalidInput(
            f"model {name!r} needs its published weights: download them once and give the folder"
            " with --model-path",
            model=name,
        )
    if options.path is not None and not known.needs_path:
        raise InvalidInput(f"model {name!r} has no weights to load: leave --model-path out")
    if options.path is not None and not options.path.is_dir():
        raise NotFound(f"model folder {options.path} is not there", path=str(options.path))
    if options.precision not in PRECISIONS:
        raise InvalidInput(f"precision {options.precision!r} is none of {', '.join(PRECISIONS)}")
    if options.batch_tokens < 1 or options.threads < 1:
        raise InvalidInput("batch_tokens and threads must be at least 1")
    return _import(known)(options)


def _import(known: Registered) -> ModelFactory:
    module, _, kind = known.where.partition(":")
    try:
        return cast("ModelFactory", getattr(importlib.import_module(module), kind))
    except ModuleNotFoundError as error:
        if not known.extra or (error.name or "").startswith("atoll"):
            raise
        raise InvalidInput(
            f"this model needs {error.name}, which is not installed: install atoll[{known.extra}]",
            module=error.name,
        ) from error
