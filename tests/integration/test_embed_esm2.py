"""ESM-2 through transformers, on a small random model saved as it is published."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from atoll.core.errors import Corrupt, NotFound  # noqa: E402 - both may be absent
from atoll.vectors.embed.models import ModelOptions, load_model  # noqa: E402

TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]
SEQUENCES = ["MKVLLAGE", "MKV", "ACDEFGHIKLMNPQRSTVWY"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("esm2")
    config = transformers.EsmConfig(
        vocab_size=len(TOKENS),
        pad_token_id=1,
        mask_token_id=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
    )
    torch.manual_seed(3)
    model = transformers.EsmForMaskedLM(config).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(TOKENS))
    return folder, model


def test_vectors_are_residue_means_of_the_last_hidden_state(saved):
    folder, model = saved
    expected = []
    for sequence in SEQUENCES:
        numbers = torch.tensor([[0, *(TOKENS.index(letter) for letter in sequence), 2]])
        with torch.no_grad():
            states = model(numbers, output_hidden_states=True).hidden_states[-1][0, 1:-1]
        expected.append(states.mean(0).numpy())
    found = load_model("esm2", ModelOptions(path=folder)).embed(SEQUENCES)
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-5)


def test_batch_mates_do_not_change_a_vector(saved):
    model = load_model("esm2", ModelOptions(path=saved[0]))
    alone = np.concatenate([model.embed([s]) for s in SEQUENCES])
    np.testing.assert_allclose(model.embed(SEQUENCES), alone, atol=1e-5)


def test_incomplete_folders_are_named(saved, tmp_path):
    model = saved[1]
    with pytest.raises(NotFound, match=r"holds no config\.json"):
        load_model("esm2", ModelOptions(path=tmp_path))
    model.config.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    with pytest.raises(NotFound, match=r"model\.safetensors"):
        load_model("esm2", ModelOptions(path=tmp_path))


def test_weights_of_another_model_are_named(saved, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, model = saved
    model.config.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS))
    kept = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in kept.items() if "layer.1.output" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Corrupt, match=r"lacks .*layer\.1\.output"):
        load_model("esm2", ModelOptions(path=tmp_path))
