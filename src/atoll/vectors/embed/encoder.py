"""What the torch models share: tokens, batches, long sequences, and the mean over residues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput, NotFound
from atoll.vectors.embed.devices import torch_device, torch_dtype
from atoll.vectors.embed.models import ModelOptions
from atoll.vectors.embed.tiling import Tile, batches, tiles
from atoll.vectors.model import Embedder

OVERLAP = 256
_READ_BYTES = 1 << 24


class Encoder(ABC):
    """A transformer over residues whose vector is the mean of its last layer over the residues.

    A sequence longer than the model takes is cut into tiles that overlap by 256 residues; each
    residue counts once, from the tile in which it lies further from a cut.

    Attributes:
        embedder: what is recorded; `pooling` names the tiles.
        window_rows: how many sequences are sorted by length together; fewer without a GPU, where
            they take minutes and an interruption should cost less.
    """

    def __init__(
        self,
        options: ModelOptions,
        *,
        name: str,
        revision: str,
        dim: int,
        max_residues: int,
        vocabulary: Mapping[str, int],
        frame: tuple[str, str, str],
    ) -> None:
        """Set up what does not depend on the architecture.

        Args:
            options: device, precision, batch size, threads.
            name, revision, dim: for the `Embedder`.
            max_residues: what the model takes at once.
            vocabulary: token to number; an upper-case letter without one is "<unk>".
            frame: the tokens before, after, and beyond a sequence.
        """
        self._options = options
        self._device = torch_device(options.device)
        self._dtype = torch_dtype(options.precision)
        self.window_rows = 1024 if self._device.type == "cuda" else 64
        self._max_residues = max_residues
        self._overlap = min(OVERLAP, max_residues // 2)
        self._begin, self._end, self._pad = (vocabulary[token] for token in frame)
        self._tokens = np.full(256, vocabulary["<unk>"], np.int64)
        for token, number in vocabulary.items():
            if len(token) == 1 and token.isascii() and token.isalpha():
                self._tokens[ord(token)] = number
        self.embedder = Embedder(
            name=name,
            revision=revision,
            pooling=f"mean, tiles of {max_residues} overlapping {self._overlap}",
            dim=dim,
            precision=options.precision,
        )

    @abstractmethod
    def hidden(self, tokens: torch.Tensor, is_token: torch.Tensor | None) -> torch.Tensor:
        """Run the model.

        Args:
            tokens: (batch, length) token numbers, padded at the end.
            is_token: (batch, length) true where there is no padding; None where there is none.

        Returns:
            (batch, length, dim) states of the layer that is pooled.
        """

    def embed(self, sequences: Sequence[str]) -> NDArray[np.float32]:
        """Embed sequences; see `Model.embed`."""
        for number, sequence in enumerate(sequences):
            if not sequence:
                raise InvalidInput(f"sequence {number} is empty: there is nothing to embed")
        torch.set_num_threads(self._options.threads)
        pieces = [
            (number, tile)
            for number, sequence in enumerate(sequences)
            for tile in tiles(len(sequence), self._max_residues, self._overlap)
        ]
        sums = np.zeros((len(sequences), self.embedder.dim))
        lengths = [tile.end - tile.start + 2 for _, tile in pieces]
        with torch.inference_mode():
            for batch in batches(lengths, self._options.batch_tokens):
                chosen = [pieces[index] for index in batch]
                for (number, _), total in zip(chosen, self._sums(sequences, chosen), strict=True):
                    sums[number] += total
        counts = np.array([len(sequence) for sequence in sequences])
        return (sums / counts[:, None]).astype(np.float32) if len(sequences) else sums.astype("f4")

    def _sums(
        self, sequences: Sequence[str], pieces: Sequence[tuple[int, Tile]]
    ) -> NDArray[np.float32]:
        """Add up the states of each piece's own residues, (pieces, dim)."""
        longest = max(tile.end - tile.start for _, tile in pieces) + 2
        tokens = np.full((len(pieces), longest), self._pad)
        own = np.zeros((len(pieces), longest), np.float32)
        for row, (number, tile) in enumerate(pieces):
            letters = sequences[number][tile.start : tile.end].upper().encode("ascii", "replace")
            size = len(letters)
            tokens[row, 0] = self._begin
            tokens[row, 1 : size + 1] = self._tokens[np.frombuffer(letters, np.uint8)]
            tokens[row, size + 1] = self._end
            own[row, tile.own_start - tile.start + 1 : tile.own_end - tile.start + 1] = 1
        is_token = None
        if any(tile.end - tile.start + 2 < longest for _, tile in pieces):
            sizes = np.array([tile.end - tile.start + 2 for _, tile in pieces])
            is_token = torch.from_numpy(np.arange(longest) < sizes[:, None]).to(self._device)
        states = self.hidden(torch.from_numpy(tokens).to(self._device), is_token).float()
        weights = torch.from_numpy(own).to(self._device)
        sums: NDArray[np.float32] = torch.einsum("bl,bld->bd", weights, states).cpu().numpy()
        return sums


def weights_file(folder: Path) -> Path:
    """Find the one safetensors file of a model folder.

    Raises:
        NotFound: there is none, or there are several and none is called model.safetensors.
    """
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise NotFound(
            f"{folder} holds {len(found)} .safetensors files; it should hold model.safetensors, as"
            " published",
            path=str(folder),
        )
    return found[0]


def file_revision(path: Path) -> str:
    """Hash a weights file: "xxh3-" and 16 hex digits of its 128-bit xxh3."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            state.update(chunk)
    return f"xxh3-{state.hexdigest()[:16]}"
