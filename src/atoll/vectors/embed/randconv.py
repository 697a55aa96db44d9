"""randconv: the weights-free default embedder, from residues to a 960-d unit vector.

2,880 synthetic 7-residue peptides slide over the sequence; the response of a peptide at a window is
the sum of the BLOSUM62-derived similarities of the seven residue pairs, and each peptide keeps its
best response. The 2,880 maxima are centred, scaled and reduced to 960 axes with statistics of
synthetic sequences, then brought to length 1. Nothing is learnt from real data.

Responses are sums of int16 table entries, and the reduction multiplies integers below 2**53 in
float64: both are exact, so neither batch, thread count, BLAS nor processor changes a vector.
`tools/randconv_data.py` makes the data file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from atoll.core.errors import InvalidInput
from atoll.vectors.embed.devices import require_torch, torch_device, torch_dtype
from atoll.vectors.embed.models import ModelOptions
from atoll.vectors.model import Embedder

WIDTH = 7
UNKNOWN = 20
RESIDUES = "ARNDCQEGHILKMFPSTWYV"
# What the integers count: 1/1024 of a response, 1/4096 of a residue similarity, and so on.
SCALE = 1024
GRAM_SCALE = 4096
MEAN_SCALE = 256
_HALF = WIDTH // 2
_SYMBOLS = UNKNOWN + 1
# Importing and compiling the kernel takes as long as the matrix product needs for this much.
_COMPILE_MIN_RESIDUES = 30_000
_COMPILE_MIN_SEQUENCES = 500
_TASK_RESIDUES = 50_000
_PRODUCT_WINDOWS = 1024
_REDUCE_ROWS = 512
_TORCH_WINDOWS = {"cpu": 1024, "cuda": 65_536}

Codes = NDArray[np.uint8]
Pool = Callable[[Sequence[Codes]], NDArray[np.int16]]


def _letter_codes() -> Codes:
    codes = np.full(256, UNKNOWN, np.uint8)
    for code, letter in enumerate(RESIDUES):
        codes[ord(letter)] = codes[ord(letter.lower())] = code
    # Ambiguous and rare residues stand for the nearest of the 20.
    for rare, common in ("BD", "ZE", "UC", "OK", "JL"):
        codes[ord(rare)] = codes[ord(rare.lower())] = codes[ord(common)]
    return codes


_CODES = _letter_codes()


class RandConv:
    """The default model. One call at a time: BLAS threads are limited meanwhile.

    Attributes:
        embedder: name "randconv", dim 960, pooling "max-whitened".
        window_rows: how many sequences are worth giving at once.
    """

    window_rows = 2048

    def __init__(self, options: ModelOptions) -> None:
        """Load the packaged peptides and projection.

        Args:
            options: `device` "cpu", or "cuda" through torch (in float32 the same vectors to the
                last bit); `precision` "float32" (in fact exact integers), or "bfloat16" through
                torch, where responses keep 8 bits: cosine distance to float32 5e-5 on average,
                SCOPe40 precision@1 .361/.410 for .362/.411; for GPUs, as the integers are quicker
                on processors; `threads`.

        Raises:
            InvalidInput: torch is needed and absent, or the device is not there.
        """
        with (resources.files(__package__) / "data" / "randconv.npz").open("rb") as file:
            data = dict(np.load(file))
        self.table = response_table(data["gram"], data["peptides"])
        self._mean = data["mean"].astype(np.float64)
        self._projection = data["projection"].astype(np.float64)
        self._axis_scale = data["axis_scale"].astype(np.float64)
        self._threads = options.threads
        self._libraries = ThreadpoolController()
        self._kernel_pool: Pool | None = None
        self._torch_pool: Pool | None = None
        if options.device != "cpu" or options.precision != "float32":
            self._torch_pool = torch_pool(self.table, options)
        self.embedder = Embedder(
            name="randconv",
            revision=str(data["revision"]),
            pooling="max-whitened",
            dim=self._projection.shape[1],
            precision=options.precision,
        )

    def embed(self, sequences: Sequence[str]) -> NDArray[np.float32]:
        """Embed sequences of residues.

        Args:
            sequences: one-letter codes in either case, of any length from 1; B Z U O J stand for
                D E C K L, any other letter is an unknown residue that matches nothing.

        Returns:
            (len(sequences), 960) float32 rows of length 1. Equal sequences give equal rows in any
            batch, on any number of threads and on any machine (bfloat16: on the same machine).

        Raises:
            InvalidInput: a sequence is empty.
        """
        codes = [encode(sequence) for sequence in sequences]
        if not all(map(len, codes)):
            number = [len(code) for code in codes].index(0)
            raise InvalidInput(
                f"sequence {number} is empty: there is nothing to embed; leave it out"
            )
        with self._libraries.limit(limits=self._threads, user_api="blas"):
            return self._reduce(self.responses(codes))

    def responses(self, codes: Sequence[Codes]) -> NDArray[np.int16]:
        """Return each peptide's best response, (len(codes), 2880) int16 in units of 1/1024."""
        if not codes:
            return np.empty((0, self.table.shape[1]), np.int16)
        if self._torch_pool:
            return self._torch_pool(codes)
        if self._kernel_pool is None:
            if not _is_much(codes):
                return product_pool(self.table, codes)
            self._kernel_pool = KernelPool(self.table)
        tasks = list(_tasks(codes))
        with ThreadPoolExecutor(min(self._threads, len(tasks))) as threads:
            return np.concatenate(list(threads.map(self._kernel_pool, tasks)))

    def _reduce(self, responses: NDArray[np.int16]) -> NDArray[np.float32]:
        out = np.empty((len(responses), self._projection.shape[1]), np.float32)
        for at in range(0, len(responses), _REDUCE_ROWS):
            centred = responses[at : at + _REDUCE_ROWS].astype(np.float64) * MEAN_SCALE - self._mean
            vectors = (centred @ self._projection) * self._axis_scale
            vectors /= np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
            out[at : at + _REDUCE_ROWS] = vectors
        return out


def encode(sequence: str) -> Codes:
    """Turn letters into codes 0 to 20, `UNKNOWN` where a letter is no amino acid."""
    return _CODES[np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)]


def response_table(gram: NDArray[np.int16], peptides: Codes) -> NDArray[np.int16]:
    """Tabulate what each residue at each window position adds to each peptide's response.

    Args:
        gram: (20, 20) similarity of residues, in 1/4096.
        peptides: (filters, 7) residue codes.

    Returns:
        (7 x 21, filters) int16 in 1/1024; row 21 j + r is residue r at position j, and the rows of
        the unknown residue are zero. A peptide's response to itself is its norm.
    """
    norms = np.sqrt(gram.diagonal()[peptides].sum(axis=1, dtype=np.int64) / GRAM_SCALE)
    table = np.zeros((WIDTH, _SYMBOLS, len(peptides)))
    for position in range(WIDTH):
        table[position, :UNKNOWN] = gram[:, peptides[:, position]] / norms * (SCALE / GRAM_SCALE)
    return np.rint(table).astype(np.int16).reshape(WIDTH * _SYMBOLS, len(peptides))


def product_pool(table: NDArray[np.int16], codes: Sequence[Codes]) -> NDArray[np.int16]:
    """Pool by a matrix product of one-hot windows; exact, as all sums are integers below 2**24."""
    weights = table.astype(np.float32)
    best = np.full((len(codes), table.shape[1]), -np.inf, np.float32)
    windows = np.concatenate([_windows(code) for code in codes])
    owners = np.repeat(np.arange(len(codes)), [len(code) for code in codes])
    for at in range(0, len(windows), _PRODUCT_WINDOWS):
        responses = _one_hot(windows[at : at + _PRODUCT_WINDOWS]) @ weights
        rows, starts = np.unique(owners[at : at + _PRODUCT_WINDOWS], return_index=True)
        best[rows] = np.maximum(best[rows], np.maximum.reduceat(responses, starts, axis=0))
    return best.astype(np.int16)


def torch_pool(table: NDArray[np.int16], options: ModelOptions) -> Pool:
    """Make a pool that runs the matrix product in torch; exact in float32, TF32 being off."""
    torch = require_torch()
    place = torch_device(options.device)
    kind = torch_dtype(options.precision)
    weights = torch.from_numpy(table).to(place, kind)

    def responses(windows: Any) -> Any:
        hot = torch.zeros(len(windows), len(weights), dtype=kind, device=place)
        return (hot.scatter_(1, windows, 1) @ weights).amax(0)

    def pool(codes: Sequence[Codes]) -> NDArray[np.int16]:
        torch.set_num_threads(options.threads)
        best = np.empty((len(codes), table.shape[1]), np.int16)
        for row, code in enumerate(codes):
            pieces = torch.from_numpy(_windows(code)).to(place).split(_TORCH_WINDOWS[place.type])
            top = torch.stack([responses(piece) for piece in pieces]).amax(0)
            best[row] = top.float().round().cpu().numpy()
        return best

    return pool


def _windows(code: Codes) -> NDArray[np.int64]:
    """List, for the window around each residue, the table rows of its seven residues: (n, 7)."""
    padded = _padded(code).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WIDTH)
    return windows + np.arange(WIDTH) * _SYMBOLS


def _one_hot(windows: NDArray[np.int64]) -> NDArray[np.float32]:
    hot = np.zeros((len(windows), WIDTH * _SYMBOLS), np.float32)
    np.put_along_axis(hot, windows, 1, axis=1)
    return hot


def _padded(code: Codes) -> Codes:
    return np.pad(code, _HALF, constant_values=UNKNOWN)


def _is_much(codes: Sequence[Codes]) -> bool:
    residues = sum(map(len, codes))
    return len(codes) >= _COMPILE_MIN_SEQUENCES or residues >= _COMPILE_MIN_RESIDUES


def _tasks(codes: Sequence[Codes]) -> Iterator[list[Codes]]:
    """Cut the work into tasks of about equal numbers of residues."""
    task: list[Codes] = []
    held = 0
    for code in codes:
        task.append(code)
        held += len(code)
        if held >= _TASK_RESIDUES:
            yield task
            task, held = [], 0
    if task:
        yield task


class KernelPool:
    """The compiled kernel with its table, as a function of sequences."""

    def __init__(self, table: NDArray[np.int16]) -> None:
        """Compile the kernel, or load it from numba's cache."""
        from atoll.vectors.embed.randconv_kernel import compiled

        self._kernel, self._table = compiled(), table

    def __call__(self, codes: Sequence[Codes]) -> NDArray[np.int16]:
        """Return each filter's best response, (len(codes), filters)."""
        best = np.full((len(codes), self._table.shape[1]), np.iinfo(np.int16).min, np.int16)
        joined = np.concatenate([_padded(code) for code in codes])
        lengths = np.array([len(code) for code in codes])
        self._kernel(joined, lengths, self._table, best)
        return best
