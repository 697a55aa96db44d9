"""The default embedder: golden values, and an oracle written from its definition."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors.embed import randconv
from atoll.vectors.embed.models import ModelOptions, load_model
from atoll.vectors.embed.randconv import RandConv, encode, product_pool

INSULIN = (
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKR"
    "GIVEQCCTSICSLYQLENYCN"
)
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
GOLDEN_INSULIN = [
    0.0124368733,
    0.0438511856,
    0.00313143129,
    -0.103924759,
    0.0442807749,
    0.101091869,
]
GOLDEN_UBIQUITIN = [
    -0.0118806483,
    0.0429660603,
    -0.0324110463,
    -0.00892179925,
    -0.00094359403,
    -0.0225844216,
]
GOLDEN_COSINE = -0.0319363


@pytest.fixture(scope="module")
def model():
    return load_model("randconv")


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "randconv_data.py"
    spec = importlib.util.spec_from_file_location("randconv_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_sequences(count, longest, seed=0):
    rng = np.random.default_rng(seed)
    letters = np.array(list("ARNDCQEGHILKMFPSTWYVX"))
    return ["".join(rng.choice(letters, rng.integers(1, longest))) for _ in range(count)]


def test_every_machine_gets_these_values(model):
    vectors = model.embed([INSULIN, UBIQUITIN])
    np.testing.assert_allclose(vectors[0, :6], GOLDEN_INSULIN, rtol=0, atol=1e-7)
    np.testing.assert_allclose(vectors[1, -6:], GOLDEN_UBIQUITIN, rtol=0, atol=1e-7)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(GOLDEN_COSINE, abs=1e-6)


def test_recorded_embedder_names_what_was_done(model):
    assert (model.embedder.name, model.embedder.revision, model.embedder.dim) == (
        "randconv",
        "1",
        960,
    )
    assert (model.embedder.pooling, model.embedder.precision) == ("max-whitened", "float32")


def test_responses_are_best_sums_of_residue_similarities(model, tool):
    table = model.table.reshape(7, 21, -1)
    code = encode(INSULIN[:40])
    padded = [20, 20, 20, *code, 20, 20, 20]
    expected = [
        max(sum(int(table[j, padded[i + j], f]) for j in range(7)) for i in range(len(code)))
        for f in range(0, 2880, 97)
    ]
    assert model.responses([code])[0, ::97].tolist() == expected


def test_table_holds_normalised_similarities(model, tool):
    gram, peptide = tool.gram() / 4096, tool.peptides(tool.synthetic_sequences())[5]
    norm = np.sqrt(sum(gram[r, r] for r in peptide))
    expected = [gram[3, r] / norm * 1024 for r in peptide]
    np.testing.assert_allclose(model.table.reshape(7, 21, -1)[:, 3, 5], expected, atol=0.5)


def test_compiled_kernel_and_matrix_product_agree_to_the_last_bit(model):
    pytest.importorskip("numba")
    codes = [encode(s) for s in random_sequences(150, 500)]
    assert sum(map(len, codes)) > randconv._COMPILE_MIN_RESIDUES
    assert np.array_equal(model.responses(codes), product_pool(model.table, codes))


def test_vector_does_not_depend_on_batch_or_threads(model):
    sequences = random_sequences(150, 500)
    together = RandConv(ModelOptions(threads=2)).embed(sequences)
    alone = np.concatenate([model.embed([s]) for s in sequences[:20]])
    assert np.array_equal(together[:20], alone)


def test_torch_in_float32_gives_the_same_bits(model):
    pytest.importorskip("torch")
    codes = [encode(s) for s in random_sequences(8, 300)]
    through_torch = randconv.torch_pool(model.table, ModelOptions())(codes)
    assert np.array_equal(through_torch, model.responses(codes))


def test_bfloat16_is_recorded_and_close(model):
    pytest.importorskip("torch")
    coarse = load_model("randconv", ModelOptions(precision="bfloat16"))
    cosine = (coarse.embed([INSULIN, UBIQUITIN]) * model.embed([INSULIN, UBIQUITIN])).sum(axis=1)
    assert coarse.embedder.precision == "bfloat16"
    assert (cosine > 0.9995).all()
    assert (cosine < 1).any()


def test_lower_case_and_rare_residues_stand_for_common_ones(model):
    rare, common = model.embed(["mkBZUOJw", "MKDECKLW"])
    assert np.array_equal(rare, common)


def test_empty_sequence_is_refused_by_number(model):
    with pytest.raises(InvalidInput, match="sequence 1 is empty"):
        model.embed(["MK", ""])


def test_packaged_peptides_and_similarities_are_what_the_tool_makes(model, tool):
    table = randconv.response_table(tool.gram(), tool.peptides(tool.synthetic_sequences()))
    assert np.array_equal(table, model.table)


def test_whitened_axes_are_uncorrelated_over_synthetic_sequences(model, tool):
    codes = tool.synthetic_sequences()[:1500]
    centred = model.responses(codes) - model._mean / 256
    axes = (centred @ model._projection) * model._axis_scale
    correlation = np.corrcoef(axes[:, :200].T)
    assert np.abs(correlation - np.eye(200)).mean() < 0.05


def test_unknown_model_names_the_choices():
    with pytest.raises(InvalidInput, match="randconv, amplify, esm2"):
        load_model("prott6")
