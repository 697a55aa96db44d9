"""Our AMPLIFY encoder against an independent computation on a small random model."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402 - torch may be absent

from atoll.core.errors import Corrupt, InvalidInput, NotFound  # noqa: E402
from atoll.vectors.embed.models import ModelOptions, load_model  # noqa: E402

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 24, 2, 3, 40, 34
SETTINGS = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "norm_eps": 1e-5,
    "max_length": POSITIONS,
    "vocab_size": 27,
    "hidden_act": "SwiGLU",
}
NUMBERS = {letter: 6 + i for i, letter in enumerate("LAGVSERTIDPKQNFYMHWCB")}
SEQUENCES = ["MKVLLAGE", "MKV", "ACDEFGHIKLMNPQRSTVWYB", "mkxu", "G"]


def random_weights():
    torch.manual_seed(5)
    shapes = {"encoder.weight": (27, WIDTH), "decoder.weight": (27, WIDTH), "decoder.bias": (27,)}
    shapes["layer_norm_2.weight"] = (WIDTH,)
    for i in range(LAYERS):
        block = f"transformer_encoder.{i}."
        shapes |= {f"{block}{p}.weight": (WIDTH, WIDTH) for p in ("q", "k", "v", "wo")}
        shapes |= {f"{block}{p}_norm.weight": (WIDTH,) for p in ("attention", "ffn")}
        shapes[block + "ffn.w12.weight"] = (2 * INNER, WIDTH)
        shapes[block + "ffn.w3.weight"] = (WIDTH, INNER)
    return {name: torch.randn(shape) * 0.4 for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights():
    return random_weights()


@pytest.fixture
def folder(tmp_path, weights):
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    return tmp_path


def oracle(w, sequence):
    """One sequence, float64, complex rotations, softmax written out, one head at a time."""
    w = {name: value.double() for name, value in w.items()}
    numbers = [3] + [NUMBERS.get(letter, 1) for letter in sequence.upper()] + [4]
    x = w["encoder.weight"][numbers]
    norm = lambda v, g: v / (v.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * g  # noqa: E731
    size = WIDTH // HEADS
    steps = torch.arange(len(numbers)).double()[:, None]
    turn = torch.exp(1j * steps * 10000.0 ** (-torch.arange(0, size, 2).double() / size))
    rotate = lambda v: torch.view_as_real(  # noqa: E731
        torch.view_as_complex(v.reshape(len(numbers), -1, 2)) * turn
    ).reshape(len(numbers), -1)
    for i in range(LAYERS):
        p = f"transformer_encoder.{i}."
        y = norm(x, w[p + "attention_norm.weight"])
        q, k, v = (y @ w[f"{p}{n}.weight"].T for n in "qkv")
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            scores = rotate(q[:, part].contiguous()) @ rotate(k[:, part].contiguous()).T
            heads.append((scores / size**0.5).softmax(-1) @ v[:, part])
        x = x + torch.cat(heads, -1) @ w[p + "wo.weight"].T
        both = norm(x, w[p + "ffn_norm.weight"]) @ w[p + "ffn.w12.weight"].T
        gate, value = both[:, :INNER], both[:, INNER:]
        x = x + (gate * torch.sigmoid(gate) * value) @ w[p + "ffn.w3.weight"].T
    return x[1:-1].numpy()


def test_vectors_are_residue_means_before_the_last_norm(folder, weights):
    model = load_model("amplify", ModelOptions(path=folder))
    expected = np.stack([oracle(weights, s).mean(axis=0) for s in SEQUENCES])
    np.testing.assert_allclose(model.embed(SEQUENCES), expected, atol=1e-5)
    assert model.embedder.dim == WIDTH


def test_zenodo_layout_loads_the_same_model(tmp_path, folder, weights):
    expected = load_model("amplify", ModelOptions(path=folder)).embed(SEQUENCES)
    (folder / "config.json").unlink()
    model_part = {k: v for k, v in SETTINGS.items() if k not in ("vocab_size", "max_length")}
    lines = ["model:", *(f"  {k}: {v}" for k, v in model_part.items())]
    lines += ["tokenizer:", "  vocab_size: 27", f"  max_length: {POSITIONS}"]
    (folder / "config.yaml").write_text("\n".join(lines))
    assert np.array_equal(
        load_model("amplify", ModelOptions(path=folder)).embed(SEQUENCES), expected
    )


@pytest.mark.parametrize("batch_tokens", [1, 12, 30, 1000])
def test_batching_does_not_change_a_vector(folder, batch_tokens):
    alone = np.concatenate(
        [load_model("amplify", ModelOptions(path=folder)).embed([s]) for s in SEQUENCES]
    )
    model = load_model("amplify", ModelOptions(path=folder, batch_tokens=batch_tokens))
    np.testing.assert_allclose(model.embed(SEQUENCES), alone, atol=1e-5)


def test_long_sequence_counts_each_residue_once(folder, weights):
    sequence = "MKVLAGERTIDPQNFYHWCS" * 4
    model = load_model("amplify", ModelOptions(path=folder))
    residues = POSITIONS - 2
    assert model.embedder.pooling == "mean, tiles of 32 overlapping 16"
    starts = [0, 16, 32, 48]
    states = [oracle(weights, sequence[s : s + residues]) for s in starts]
    kept = [states[0][:24], states[1][8:24], states[2][8:24], states[3][8:]]
    np.testing.assert_allclose(
        model.embed([sequence])[0], np.concatenate(kept).mean(axis=0), atol=1e-5
    )


def test_bfloat16_is_recorded_and_close(folder):
    exact = load_model("amplify", ModelOptions(path=folder)).embed(SEQUENCES)
    coarse = load_model("amplify", ModelOptions(path=folder, precision="bfloat16"))
    assert coarse.embedder.precision == "bfloat16"
    np.testing.assert_allclose(coarse.embed(SEQUENCES), exact, atol=0.1)


def test_revision_follows_the_weights(folder, weights):
    first = load_model("amplify", ModelOptions(path=folder)).embedder.revision
    save_file({**weights, "decoder.bias": torch.ones(27)}, folder / "model.safetensors")
    second = load_model("amplify", ModelOptions(path=folder)).embedder.revision
    assert first.startswith("xxh3-")
    assert first != second


def test_weights_that_do_not_fit_are_named(folder, weights):
    wrong = {k: v for k, v in weights.items() if k != "transformer_encoder.1.wo.weight"}
    wrong["extra.bias"] = torch.zeros(2)
    wrong["encoder.weight"] = torch.zeros(27, 8)
    save_file(wrong, folder / "model.safetensors")
    with pytest.raises(Corrupt) as caught:
        load_model("amplify", ModelOptions(path=folder))
    assert caught.value.details["faults"] == [
        "transformer_encoder.1.wo.weight is missing",
        "extra.bias is unexpected",
        "encoder.weight has shape (27, 8), not (27, 24)",
    ]


def test_cut_weights_file_and_missing_files_are_named(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(Corrupt, match="cannot be read as safetensors"):
        load_model("amplify", ModelOptions(path=folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotFound, match=r"should hold model\.safetensors"):
        load_model("amplify", ModelOptions(path=folder))


def test_other_architecture_is_refused(folder):
    (folder / "config.json").write_text(json.dumps({**SETTINGS, "hidden_act": "gelu"}))
    with pytest.raises(Corrupt, match="hidden_act='gelu'"):
        load_model("amplify", ModelOptions(path=folder))


def test_model_without_folder_says_how_to_get_one():
    with pytest.raises(InvalidInput, match="--model-path"):
        load_model("amplify")


def test_missing_torch_names_the_extra(folder, monkeypatch):
    import sys

    for name in [m for m in sys.modules if m.startswith("atoll.vectors.embed.amplify")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match=r"install atoll\[torch\]"):
        load_model("amplify", ModelOptions(path=folder))


def test_absent_gpu_is_said(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InvalidInput, match="device 'cuda' is not there"):
        load_model("amplify", ModelOptions(path=folder, device="cuda"))
