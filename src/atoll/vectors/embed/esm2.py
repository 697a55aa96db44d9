"""ESM-2 (Lin et al. 2023) through transformers, from a local folder of its published files.

The vector is the mean of the last hidden state (after the final layer norm, as the authors pool it)
over the residues, `<cls>` and `<eos>` left out. Trained at 1,024 tokens: tiles of 1,022 residues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import EsmConfig, EsmModel

from atoll.core.errors import Corrupt, NotFound
from atoll.core.text import some_of
from atoll.vectors.embed.encoder import Encoder, file_revision, weights_file
from atoll.vectors.embed.models import ModelOptions

MAX_RESIDUES = 1022
_FRAME = ("<cls>", "<eos>", "<pad>")


class Esm2(Encoder):
    """Any ESM-2 size, from a folder with config.json, model.safetensors and vocab.txt."""

    def __init__(self, options: ModelOptions) -> None:
        """Load the weights.

        Raises:
            NotFound: a file is missing from the folder.
            Corrupt: weights or vocabulary are not those of an ESM-2 model.
        """
        folder = options.path or Path()
        for name in ("config.json", "vocab.txt"):
            if not (folder / name).is_file():
                raise NotFound(f"{folder} holds no {name}; give the published folder, whole")
        file = weights_file(folder)
        vocabulary = {
            token: number for number, token in enumerate((folder / "vocab.txt").read_text().split())
        }
        if not {*_FRAME, "<unk>"} <= set(vocabulary):
            raise Corrupt(f"{folder / 'vocab.txt'} lacks <cls>, <eos>, <pad> or <unk>")
        config = EsmConfig.from_pretrained(folder, local_files_only=True)
        super().__init__(
            options,
            name="esm2",
            revision=file_revision(file),
            dim=config.hidden_size,
            max_residues=min(MAX_RESIDUES, config.max_position_embeddings - 4),
            vocabulary=vocabulary,
            frame=_FRAME,
        )
        loaded: Any = EsmModel.from_pretrained(
            folder,
            local_files_only=True,
            add_pooling_layer=False,
            output_loading_info=True,
            dtype=self._dtype,
        )
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise Corrupt(
                f"{file} lacks {some_of(missing)}: not the weights of this configuration",
                missing=missing,
            )
        self._model = model.eval().to(self._device)

    def hidden(self, tokens: torch.Tensor, is_token: torch.Tensor | None) -> torch.Tensor:
        """Return the last hidden state; see `Encoder.hidden`."""
        mask = torch.ones_like(tokens) if is_token is None else is_token.long()
        states: torch.Tensor = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states
