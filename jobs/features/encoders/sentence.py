"""Text encoder: a BERT-like sentence encoder from a local folder. TensorFlow, no PyTorch, no download.

It reads no file that can run code: weights are in safetensors, tokenizer and configuration in JSON.
Reimers, Gurevych. 2019. Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks. EMNLP.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import transformers  # its attributes import TensorFlow lazily
from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

from jobs.features.encoders.errors import EncoderError
from jobs.features.encoders.unit import unit_rows
from models.towers.legacy_keras import tf

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_STEPS = ("Transformer", "Pooling", "Normalize")


class SentenceEncoder:
    """The encoder in a folder as laid out by sentence-transformers or the Hugging Face hub.

    The folder has config.json, tokenizer.json or vocab.txt, model.safetensors, and optionally modules.json and
    1_Pooling/config.json. A text is truncated after `max_tokens`; its vector is the mean over its tokens' last states,
    of length one. An empty text has a vector too. Raises EncoderError for any other folder.
    """

    def __init__(self, folder: str, max_tokens: int, batch_size: int) -> None:
        path = Path(folder)
        config = _read_config(path, max_tokens)
        _check_steps(path)
        weights = _read_weights(path)
        self._tokenizer, tokenizer_files = _read_tokenizer(path, config, max_tokens)
        self._model = _build_model(path, config, weights)
        self._padding = int(config.get("pad_token_id") or 0)
        self._batch_size = batch_size
        self.dim = int(config["hidden_size"])
        # All inputs of a vector.
        digest = hashlib.sha256(f"{max_tokens}".encode())
        for content in ((path / "config.json").read_bytes(), *tokenizer_files, weights):
            digest.update(hashlib.sha256(content).digest())
        self.version = f"sentence-{digest.hexdigest()[:12]}"
        shape = tf.TensorSpec([None, None], tf.int32)
        self._mean_states = tf.function(self._mean_states_of, input_signature=[shape, shape])

    def encode(self, texts: Sequence[str]) -> np.ndarray:  # [texts, dim] float32
        """Unit rows."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), self.dim), np.float32)
        # Texts of similar length share a batch, which saves padding.
        by_length = np.argsort([len(ids) for ids in tokens], kind="stable")
        for start in range(0, len(tokens), self._batch_size):
            rows = by_length[start : start + self._batch_size]
            vectors[rows] = self._mean_states(*self._pad([tokens[row] for row in rows])).numpy()
        return unit_rows(vectors)

    def _pad(self, tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:  # both [batch, longest]
        lengths = np.array([len(ids) for ids in tokens])
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int32)
        padded = np.full(mask.shape, self._padding, np.int32)
        padded[mask == 1] = np.concatenate(tokens)
        return padded, mask

    def _mean_states_of(self, tokens: Any, mask: Any) -> Any:  # [batch, dim]
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": tf.zeros_like(tokens)}
        states = self._model(inputs, training=False).last_hidden_state  # [batch, longest, dim]
        weights = tf.cast(mask, states.dtype)[:, :, tf.newaxis]
        return tf.reduce_sum(states * weights, axis=1) / tf.reduce_sum(weights, axis=1)


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise EncoderError(f"{file}: expected JSON, found something else ({error}); fetch the file again") from None


def _read_config(path: Path, max_tokens: int) -> dict[str, Any]:
    if not path.is_dir():
        raise EncoderError(f"{path}: expected a sentence encoder's folder, found none; put it there or name another")
    if not (path / "config.json").is_file():
        raise EncoderError(f"{path}: expected config.json, found {_names(path)}; name the folder that has it")
    config: dict[str, Any] = _read_json(path / "config.json")
    if (model_type := config.get("model_type")) != "bert":
        raise EncoderError(
            f"{path}/config.json: expected model_type 'bert', found {model_type!r}; use a BERT-like encoder"
        )
    if (position := config.get("position_embedding_type", "absolute")) != "absolute":
        raise EncoderError(
            f"{path}/config.json: expected position_embedding_type 'absolute', found {position!r}; use another encoder"
        )
    if not 2 < max_tokens <= config["max_position_embeddings"]:
        raise EncoderError(
            f"{path}: expected max_tokens from 3 to {config['max_position_embeddings']}, the model's positions, "
            f"found {max_tokens}; set it in that range"
        )
    return config


def _check_steps(path: Path) -> None:
    """Raise EncoderError for an encoder with steps other than BERT, mean pooling and normalisation."""
    if (path / "modules.json").is_file():
        steps = [step["type"].rsplit(".", 1)[-1] for step in _read_json(path / "modules.json")]
        if unknown_steps := [step for step in steps if step not in _STEPS]:
            raise EncoderError(
                f"{path}/modules.json: expected only {', '.join(_STEPS)}, found {', '.join(unknown_steps)}; "
                "use another encoder"
            )
    if (path / "1_Pooling" / "config.json").is_file():
        pooling = _read_json(path / "1_Pooling" / "config.json")
        flags = [name.removeprefix("pooling_mode_") for name, is_on in pooling.items() if is_on is True]
        modes = [pooling["pooling_mode"]] if "pooling_mode" in pooling else [f for f in flags if f != "include_prompt"]
        if modes not in (["mean"], ["mean_tokens"]):
            raise EncoderError(
                f"{path}/1_Pooling/config.json: expected mean pooling, found {', '.join(modes) or 'none'}; "
                "use an encoder that was trained with mean pooling"
            )


def _read_weights(path: Path) -> bytes:
    if (path / "model.safetensors").is_file():
        return (path / "model.safetensors").read_bytes()
    if pickles := sorted(file.name for pattern in _PICKLES for file in path.glob(pattern)):
        raise EncoderError(
            f"{path}: expected model.safetensors, found {', '.join(pickles)}, pickles that run code when loaded; "
            "get the encoder's safetensors file instead"
        )
    raise EncoderError(f"{path}: expected model.safetensors, found {_names(path)}; get that file")


def _read_tokenizer(path: Path, config: dict[str, Any], max_tokens: int) -> tuple[Any, list[bytes]]:
    """The tokenizer, and the contents of its files."""
    whole, vocabulary, options = path / "tokenizer.json", path / "vocab.txt", path / "tokenizer_config.json"
    if whole.is_file():
        files = [whole]
        _read_json(whole)
        try:
            wrapped = transformers.PreTrainedTokenizerFast(tokenizer_file=str(whole))
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise EncoderError(f"{whole}: expected a tokenizer, found other JSON ({error}); get it again") from None
    elif vocabulary.is_file():
        files = [vocabulary, *([options] if options.is_file() else [])]
        has_cases = options.is_file() and _read_json(options).get("do_lower_case") is False
        wrapped = transformers.BertTokenizerFast(vocab_file=str(vocabulary), do_lower_case=not has_cases)
    else:
        raise EncoderError(f"{path}: expected tokenizer.json or vocab.txt, found {_names(path)}; get one of them")
    tokenizer = wrapped.backend_tokenizer
    # A tokenizer file may set padding and truncation itself, as MiniLM's does.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_tokens)
    if (size := tokenizer.get_vocab_size(with_added_tokens=True)) > config["vocab_size"]:
        raise EncoderError(
            f"{files[0]}: expected at most {config['vocab_size']} tokens as in config.json, found {size}; "
            "take the tokenizer that belongs to the model"
        )
    return tokenizer, [file.read_bytes() for file in files]


def _build_model(path: Path, config: dict[str, Any], weights: bytes) -> Any:
    """The TF model with the weights that PyTorch named; the TF classes can't open safetensors files by themselves."""
    file = path / "model.safetensors"
    try:
        arrays = safetensors.numpy.load(weights)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{file}: expected float16 or float32 weights in safetensors, found something else ({error}); "
            "fetch or convert it again"
        ) from None
    model = transformers.TFBertModel(transformers.BertConfig.from_dict(config))
    try:
        _, info = load_pytorch_state_dict_in_tf2_model(
            model, arrays, allow_missing_keys=True, output_loading_info=True, skip_logger_warnings=True
        )
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        raise EncoderError(f"{file}: weights don't fit config.json ({error}); take both from one place") from None
    # The mean is over token states: whatever BERT's pooler is, nothing of it is used.
    if missing := sorted(name for name in info["missing_keys"] if "pooler." not in name):
        raise EncoderError(
            f"{file}: expected weights for {', '.join(missing[:3])}, {len(missing)} in all, found none; "
            "take weights and config.json from one place"
        )
    return model


def _names(path: Path) -> str:
    return ", ".join(sorted(file.name for file in path.iterdir())) or "nothing"
