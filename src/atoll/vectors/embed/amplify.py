"""AMPLIFY (Fournier et al. 2024), our own encoder for the published weights.

32 blocks of width 960 in the 350M model: RMSNorm, attention with rotary positions, RMSNorm, SwiGLU,
no biases. The vector is the mean, over the residues alone, of the last block's output before the
final norm, which is what the published code calls its last hidden state. There are 2,048 positions,
so 2,046 residues; letters outside the 20 and B are unknown, as lower case would be.

A folder as on the hub (model.safetensors, config.json, tokenizer.json) or as on Zenodo
(model.safetensors, config.yaml) is read; no code from the folder is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from atoll.core.errors import Corrupt, NotFound
from atoll.core.text import some_of
from atoll.vectors.embed.encoder import Encoder, file_revision, weights_file
from atoll.vectors.embed.models import ModelOptions

VOCABULARY = ("<pad>", "<unk>", "<mask>", "<bos>", "<eos>", *"|LAGVSERTIDPKQNFYMHWCB")
_FRAME = ("<bos>", "<eos>", "<pad>")
_ROPE_BASE = 10_000.0
# Present in the published files, not needed for embedding.
_HEAD = ("decoder.weight", "decoder.bias", "layer_norm_2.weight")


@dataclass(frozen=True)
class Config:
    """What the published configuration says of the architecture."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    norm_eps: float
    max_length: int
    vocab_size: int


class Amplify(Encoder):
    """AMPLIFY_120M or _350M from a local folder of its published files."""

    def __init__(self, options: ModelOptions) -> None:
        """Load the weights.

        Raises:
            NotFound: the folder lacks the weights or the configuration.
            Corrupt: they are not AMPLIFY's: names, shapes or settings differ (which, is said).
        """
        folder = options.path or Path()
        self._config = read_config(folder)
        file = weights_file(folder)
        super().__init__(
            options,
            name="amplify",
            revision=file_revision(file),
            dim=self._config.hidden_size,
            max_residues=self._config.max_length - 2,
            vocabulary=_read_vocabulary(folder, self._config),
            frame=_FRAME,
        )
        weights = _load_weights(file, self._config)
        self._weights = {
            name: value.to(self._device, self._dtype) for name, value in weights.items()
        }
        self._angles = _rotary_angles(self._config).to(self._device)

    def hidden(self, tokens: torch.Tensor, is_token: torch.Tensor | None) -> torch.Tensor:
        """Return the last block's output before the final norm; see `Encoder.hidden`."""
        mask = None if is_token is None else is_token[:, None, None, :]
        states = F.embedding(tokens, self._weights["encoder.weight"])
        for layer in range(self._config.num_hidden_layers):
            states = states + self._attend(states, f"transformer_encoder.{layer}.", mask)
            states = states + self._feed_forward(states, f"transformer_encoder.{layer}.")
        return states

    def _attend(self, states: torch.Tensor, block: str, mask: torch.Tensor | None) -> torch.Tensor:
        batch, length, width = states.shape
        normed = self._norm(states, block + "attention_norm.weight")
        query, key, value = (
            F.linear(normed, self._weights[f"{block}{part}.weight"])
            .view(batch, length, self._config.num_attention_heads, -1)
            .transpose(1, 2)
            for part in "qkv"
        )
        query, key = _rotate(query, self._angles), _rotate(key, self._angles)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = mixed.transpose(1, 2).reshape(batch, length, width)
        return F.linear(joined, self._weights[block + "wo.weight"])

    def _feed_forward(self, states: torch.Tensor, block: str) -> torch.Tensor:
        normed = self._norm(states, block + "ffn_norm.weight")
        gate, value = F.linear(normed, self._weights[block + "ffn.w12.weight"]).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * value, self._weights[block + "ffn.w3.weight"])

    def _norm(self, states: torch.Tensor, name: str) -> torch.Tensor:
        weight = self._weights[name]
        wide = states.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self._config.norm_eps)
        return (wide * scale).to(states.dtype) * weight


def _rotary_angles(config: Config) -> torch.Tensor:
    """Tabulate position x frequency, (max_length, head / 2) float32."""
    head = config.hidden_size // config.num_attention_heads
    frequencies = 1.0 / _ROPE_BASE ** (torch.arange(0, head, 2).float() / head)
    return torch.outer(torch.arange(config.max_length).float(), frequencies)


def _rotate(heads: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Turn each pair (2 i, 2 i + 1) of a head by its position's angle, in float32."""
    even, odd = heads[..., 0::2].float(), heads[..., 1::2].float()
    cos, sin = angles[: heads.shape[2]].cos(), angles[: heads.shape[2]].sin()
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(heads.dtype)


def read_config(folder: Path) -> Config:
    """Read config.json (hub) or config.yaml (Zenodo).

    Raises:
        NotFound: neither is there.
        Corrupt: it is not readable, or describes another architecture.
    """
    path = folder / "config.json"
    if not path.is_file():
        path = folder / "config.yaml"
    if not path.is_file():
        raise NotFound(f"{folder} holds neither config.json nor config.yaml", path=str(folder))
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML, too
        values: dict[str, Any] = {**found.get("tokenizer", {}), **found.get("model", found)}
        config = Config(
            hidden_size=int(values["hidden_size"]),
            num_hidden_layers=int(values["num_hidden_layers"]),
            num_attention_heads=int(values["num_attention_heads"]),
            norm_eps=float(values.get("norm_eps", 1e-5)),
            max_length=int(values.get("max_length", 2048)),
            vocab_size=int(values.get("vocab_size", len(VOCABULARY))),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{path} is no AMPLIFY configuration: {error!r}", path=str(path)) from error
    _check_architecture(path, values, config)
    return config


def _check_architecture(path: Path, values: dict[str, Any], config: Config) -> None:
    fixed = {
        "hidden_act": "swiglu",
        "rms_norm": True,
        "layer_norm_after_embedding": False,
        "ffn_bias": False,
        "att_bias": False,
    }
    for key, wanted in fixed.items():
        given = values.get(key, wanted)
        if (given.lower() if isinstance(given, str) else given) != wanted:
            raise Corrupt(
                f"{path} has {key}={given!r}, the published AMPLIFY models have {wanted!r}: this"
                " encoder computes those only",
                path=str(path),
            )
    if config.hidden_size % (2 * config.num_attention_heads):
        raise Corrupt(
            f"{path}: hidden_size {config.hidden_size} is no even multiple of"
            f" num_attention_heads {config.num_attention_heads}",
            path=str(path),
        )


def _read_vocabulary(folder: Path, config: Config) -> dict[str, int]:
    """Read the tokens from tokenizer.json; the published ones where the folder has none."""
    path = folder / "tokenizer.json"
    vocabulary = {token: number for number, token in enumerate(VOCABULARY)}
    if path.is_file():
        try:
            vocabulary = dict(json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"])
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{path} holds no vocabulary: {error!r}", path=str(path)) from error
    if max(vocabulary.values()) >= config.vocab_size or not {*_FRAME, "<unk>"} <= set(vocabulary):
        raise Corrupt(
            f"the vocabulary of {folder} has {len(vocabulary)} tokens, its configuration"
            f" {config.vocab_size}, or <bos>, <eos>, <pad>, <unk> are missing: not AMPLIFY's",
            path=str(folder),
        )
    return vocabulary


def _load_weights(file: Path, config: Config) -> dict[str, torch.Tensor]:
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{file} cannot be read as safetensors: {error}", path=str(file)) from error
    # The inner width follows from the file; the published rule (2/3 of a setting, rounded) varies.
    inner = 0
    if (first := weights.get("transformer_encoder.0.ffn.w3.weight")) is not None:
        inner = first.shape[-1]
    expected = _expected_shapes(config, inner)
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is unexpected" for name in weights if name not in {*expected, *_HEAD}]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if faults:
        raise Corrupt(
            f"{file} does not fit its configuration: {some_of(faults, separator='; ')}",
            path=str(file),
            faults=faults,
        )
    return {name: weights[name] for name in expected}


def _expected_shapes(config: Config, inner: int) -> dict[str, tuple[int, ...]]:
    width = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (config.vocab_size, width)}
    for layer in range(config.num_hidden_layers):
        block = f"transformer_encoder.{layer}."
        shapes |= {f"{block}{part}.weight": (width, width) for part in ("q", "k", "v", "wo")}
        shapes[block + "ffn.w12.weight"] = (2 * inner, width)
        shapes[block + "ffn.w3.weight"] = (width, inner)
        shapes[block + "attention_norm.weight"] = (width,)
        shapes[block + "ffn_norm.weight"] = (width,)
    return shapes
