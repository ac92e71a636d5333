import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from scipy.special import erf

from jobs.features.encoders.errors import EncoderError
from jobs.features.encoders.sentence import SentenceEncoder

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "toy", "##s", "come", "to", "life", "alien", "."]
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
MEAN = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}

# Texts and their tokens: capitals fold, "##s" continues a word, other words are unknown.
TEXTS = {"Toys come to life.": [2, 6, 7, 8, 9, 10, 12, 3], "An alien": [2, 1, 11, 3], "": [2, 3]}


def _weights() -> dict[str, np.ndarray]:
    """Random ones, named as PyTorch names them."""
    draw = np.random.default_rng(0)
    hidden, inner = 32, 48
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), hidden),
        "embeddings.position_embeddings.weight": (16, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
    }
    for layer in ("encoder.layer.0.", "encoder.layer.1."):
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{layer}{name}.weight": (hidden, hidden), f"{layer}{name}.bias": (hidden,)}
        shapes |= {f"{layer}intermediate.dense.weight": (inner, hidden), f"{layer}intermediate.dense.bias": (inner,)}
        shapes |= {f"{layer}output.dense.weight": (hidden, inner), f"{layer}output.dense.bias": (hidden,)}
    weights = {name: draw.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    for name in ("embeddings", *[f"encoder.layer.{n}.{part}output" for n in (0, 1) for part in ("attention.", "")]):
        weights[f"{name}.LayerNorm.weight"] = draw.normal(1, 0.1, hidden).astype(np.float32)
        weights[f"{name}.LayerNorm.bias"] = draw.normal(0, 0.1, hidden).astype(np.float32)
    return weights


def _forward(weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """BERT by hand, for one text without padding: Devlin et al. 2019; the mean of its last states, of length one."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        standard = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-12)
        return standard * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    words, positions = weights["embeddings.word_embeddings.weight"], weights["embeddings.position_embeddings.weight"]
    x = words[tokens] + positions[: len(tokens)] + weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings")
    for n in (0, 1):
        layer = f"encoder.layer.{n}"
        queries, keys, values = (dense(x, f"{layer}.attention.self.{name}") for name in ("query", "key", "value"))
        heads = []
        for head in np.split(np.arange(32), 4):
            scores = np.exp(queries[:, head] @ keys[:, head].T / np.sqrt(8))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ values[:, head])
        attended = dense(np.concatenate(heads, axis=1), f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output")
        inner = dense(x, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output")
    mean = x.mean(axis=0)
    return mean / np.sqrt((mean**2).sum())


def _write(folder: Path, name: str, content: Any) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    _write(folder, "config.json", CONFIG)
    _write(folder, "vocab.txt", "\n".join(VOCABULARY) + "\n")
    _write(folder, "modules.json", [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer",)])
    _write(folder, "1_Pooling/config.json", MEAN)
    safetensors.numpy.save_file(_weights(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def encoder(whole_folder: Path) -> SentenceEncoder:
    return SentenceEncoder(str(whole_folder), max_tokens=16, batch_size=2)


@pytest.fixture
def folder(whole_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole_folder, tmp_path / "copy"))


def test_vectors_are_those_of_a_forward_pass_by_hand(encoder: SentenceEncoder) -> None:
    expected = np.stack([_forward(_weights(), tokens) for tokens in TEXTS.values()])
    vectors = encoder.encode(list(TEXTS))
    assert (vectors.dtype, encoder.dim) == (np.float32, 32)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_padding_changes_nothing(encoder: SentenceEncoder) -> None:
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(list(TEXTS)), alone, atol=1e-5)


def test_rows_come_in_the_order_of_the_texts(encoder: SentenceEncoder) -> None:
    texts = list(TEXTS)
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], encoder.encode(texts), atol=1e-5)


def test_text_is_cut_after_max_tokens(whole_folder: Path) -> None:
    encoder = SentenceEncoder(str(whole_folder), max_tokens=5, batch_size=2)
    # Three tokens between the first and the last mark.
    expected = _forward(_weights(), [2, 6, 7, 8, 3])
    np.testing.assert_allclose(encoder.encode(["Toys come to life."])[0], expected, atol=1e-5)


def test_no_texts_encode_to_no_rows(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode([])
    assert (vectors.shape, vectors.dtype) == ((0, 32), np.float32)


def test_tokenizer_file_gives_the_same_vectors_whatever_padding_it_brings(
    encoder: SentenceEncoder, folder: Path
) -> None:
    tokenizer = json.loads(encoder._tokenizer.to_str())
    tokenizer["truncation"] = {"max_length": 4, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    tokenizer["padding"] = {
        **{"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    }
    (folder / "vocab.txt").unlink()
    _write(folder, "tokenizer.json", tokenizer)
    other = SentenceEncoder(str(folder), max_tokens=16, batch_size=2)
    np.testing.assert_allclose(other.encode(list(TEXTS)), encoder.encode(list(TEXTS)), atol=1e-6)


def test_tokenizer_config_can_keep_capitals_apart(folder: Path) -> None:
    _write(folder, "tokenizer_config.json", {"do_lower_case": False})
    vectors = SentenceEncoder(str(folder), max_tokens=16, batch_size=2).encode(["toy", "TOY"])
    expected = [_forward(_weights(), [2, 6, 3]), _forward(_weights(), [2, 1, 3])]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_weights_named_below_bert_in_half_precision_are_read(encoder: SentenceEncoder, folder: Path) -> None:
    halves = {f"bert.{name}": array.astype(np.float16) for name, array in _weights().items()}
    safetensors.numpy.save_file({**halves, "cls.seq": np.zeros(3)}, folder / "model.safetensors")
    vectors = SentenceEncoder(str(folder), max_tokens=16, batch_size=2).encode(list(TEXTS))
    np.testing.assert_allclose(vectors, encoder.encode(list(TEXTS)), atol=0.01)


def test_version_changes_with_everything_that_a_vector_depends_on(encoder: SentenceEncoder, folder: Path) -> None:
    versions = [encoder.version, SentenceEncoder(str(folder), max_tokens=16, batch_size=7).version]
    assert versions[0] == versions[1]
    assert versions[0].startswith("sentence-")
    versions.append(SentenceEncoder(str(folder), max_tokens=15, batch_size=2).version)
    _write(folder, "vocab.txt", "\n".join([*VOCABULARY[:-1], "!"]) + "\n")
    versions.append(SentenceEncoder(str(folder), max_tokens=16, batch_size=2).version)
    weights = _weights()
    weights["embeddings.LayerNorm.bias"][0] += 1
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    versions.append(SentenceEncoder(str(folder), max_tokens=16, batch_size=2).version)
    assert len(set(versions[1:])) == 4


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: Any) -> Callable[[Path], None]:
    return lambda folder: _write(folder, name, content)


def _with_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _with_weights(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = _weights()
        change(weights)
        safetensors.numpy.save_file(weights, folder / "model.safetensors")

    return spoil


def _drop_layer(weights: dict[str, np.ndarray]) -> None:
    for name in [name for name in weights if name.startswith("encoder.layer.1.")]:
        del weights[name]


def _narrow(weights: dict[str, np.ndarray]) -> None:
    weights["embeddings.LayerNorm.bias"] = np.zeros(31, np.float32)


# name: (how the folder is spoiled, a part of the message)
SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (_without("config.json"), "expected config.json, found 1_Pooling, model.safetensors"),
    "config is no JSON": (_with("config.json", "<html>"), "config.json: expected JSON, found something else"),
    "other model": (_with("config.json", {**CONFIG, "model_type": "t5"}), "expected model_type 'bert', found 't5'"),
    "other positions": (
        _with("config.json", {**CONFIG, "position_embedding_type": "relative_key"}),
        "expected position_embedding_type 'absolute', found 'relative_key'",
    ),
    "few positions": (_with("config.json", {**CONFIG, "max_position_embeddings": 15}), "from 3 to 15.*found 16"),
    "pooling of the first token": (
        _with("1_Pooling/config.json", {**MEAN, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}),
        "expected mean pooling, found cls_token",
    ),
    "two poolings": (
        _with("1_Pooling/config.json", {**MEAN, "pooling_mode_max_tokens": True}),
        "expected mean pooling, found mean_tokens, max_tokens",
    ),
    "pooling by its newer name": (
        _with("1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "lasttoken"}),
        "expected mean pooling, found lasttoken",
    ),
    "another step": (
        _with("modules.json", [{"type": "sentence_transformers.models.Dense"}]),
        "expected only Transformer, Pooling, Normalize, found Dense",
    ),
    "pickle": (_with_pickle, "expected model.safetensors, found pytorch_model.bin, pickles that run code when loaded"),
    "no weights": (_without("model.safetensors"), "expected model.safetensors, found 1_Pooling, config.json"),
    "weights are a page": (_with("model.safetensors", "<html>not found</html>"), "weights in safetensors, found"),
    "weights lack a layer": (_with_weights(_drop_layer), "expected weights for encoder.layer.1.*16 in all"),
    "weights of another shape": (_with_weights(_narrow), "weights don't fit config.json"),
    "no tokenizer": (_without("vocab.txt"), "expected tokenizer.json or vocab.txt, found"),
    "tokenizer is no JSON": (_with("tokenizer.json", "<html>"), "tokenizer.json: expected JSON"),
    "tokenizer of something else": (_with("tokenizer.json", {"x": 1}), "tokenizer.json: expected a tokenizer"),
    "more tokens than the model has": (
        _with("vocab.txt", "\n".join([*VOCABULARY, "more"])),
        "expected at most 13 tokens as in config.json, found 14",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_unfit_folder_is_refused_with_what_came_and_what_to_do(folder: Path, name: str) -> None:
    spoil, message = SPOILED[name]
    spoil(folder)
    with pytest.raises(EncoderError, match=message):
        SentenceEncoder(str(folder), max_tokens=16, batch_size=2)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"nowhere: expected a sentence encoder's folder, found none; put it there"):
        SentenceEncoder(str(tmp_path / "nowhere"), max_tokens=16, batch_size=2)


def test_newer_name_of_mean_pooling_is_taken(encoder: SentenceEncoder, folder: Path) -> None:
    _write(folder, "1_Pooling/config.json", {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True})
    assert SentenceEncoder(str(folder), max_tokens=16, batch_size=2).version == encoder.version
