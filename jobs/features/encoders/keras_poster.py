"""Poster encoder: an image network of `tf_keras.applications` with a local weights file. No download.

The file holds the network without its classifier, as Keras publishes it (`…_no_top.h5`): HDF5, which runs no code.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jobs.features.encoders.errors import EncoderError
from jobs.features.encoders.unit import unit_rows
from models.towers.legacy_keras import keras


class KerasPosterEncoder:
    """`application` is a name such as MobileNetV2 or EfficientNetB0. The vector is the mean of its last feature map,
    of length one. A poster is resized to a square of `image_size` pixels, ignoring its proportions.

    Raises EncoderError for an unknown name, and for a weights file that is missing or does not fit.
    """

    def __init__(self, application: str, weights_file: str, image_size: int, batch_size: int) -> None:
        known = _applications()
        if application not in known:
            raise EncoderError(f"expected one of {', '.join(sorted(known))}, found {application!r}; name one of them")
        file = Path(weights_file)
        if file.suffix != ".h5":
            raise EncoderError(f"{file}: expected a .h5 file of {application} without its top; name one")
        if not file.is_file():
            raise EncoderError(f"{file}: expected {application}'s weights, found no such file; put it there")
        self._model = _build_model(application, known[application], file, image_size)
        # Each network has its own scaling of pixels, that of its training.
        self._preprocess = sys.modules[known[application].__module__].preprocess_input
        self._image_size = image_size
        self._batch_size = batch_size
        self.dim = int(self._model.output_shape[-1])
        self.version = f"{application}-{image_size}px-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:  # [images, dim] float32
        """Unit rows; `images` are [height, width, 3] uint8, of any sizes."""
        vectors = np.zeros((len(images), self.dim), np.float32)
        for start in range(0, len(images), self._batch_size):
            batch = np.stack([self._resize(image) for image in images[start : start + self._batch_size]])
            vectors[start : start + len(batch)] = self._model.predict_on_batch(self._preprocess(batch))
        return unit_rows(vectors)

    def _resize(self, image: np.ndarray) -> np.ndarray:  # [image_size, image_size, 3] float32
        size = (self._image_size, self._image_size)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32)


def _applications() -> dict[str, Any]:
    """Keras's constructors of image networks, by name."""
    named = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: value for name, value in named.items() if name[0].isupper() and callable(value)}


def _build_model(application: str, build: Any, file: Path, image_size: int) -> Any:
    try:
        model = build(include_top=False, weights=None, pooling="avg", input_shape=(image_size, image_size, 3))
    except ValueError as error:
        raise EncoderError(f"{application} does not take {image_size} pixels: {error}") from None
    try:
        model.load_weights(str(file))
    except (ValueError, OSError, KeyError) as error:
        raise EncoderError(
            f"{file}: expected the weights of {application} without its top, found others ({error}); name that file"
        ) from None
    return model
