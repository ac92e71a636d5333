import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.features.encoders.errors import EncoderError
from jobs.features.encoders.keras_poster import KerasPosterEncoder
from models.towers.legacy_keras import keras

SIZE = 48


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 with random weights, without its top."""
    keras.utils.set_random_seed(4)
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    file = tmp_path_factory.mktemp("weights") / "mobilenet.h5"
    model.save_weights(str(file))
    return file


@pytest.fixture(scope="module")
def encoder(weights_file: Path) -> KerasPosterEncoder:
    return KerasPosterEncoder("MobileNetV2", str(weights_file), SIZE, batch_size=2)


def _images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Noise of these widths and heights."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (height, width, 3), np.uint8) for width, height in sizes]


def test_vectors_are_those_of_the_network(encoder: KerasPosterEncoder, weights_file: Path) -> None:
    images = _images(*[(SIZE, SIZE)] * 3)
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    model.load_weights(str(weights_file))
    # MobileNetV2 takes values from -1 to 1; its last feature map is averaged here by hand.
    maps = model(np.stack(images).astype(np.float32) / 127.5 - 1, training=False).numpy()
    means = maps.mean(axis=(1, 2))
    vectors = encoder.encode(images)
    assert (vectors.dtype, encoder.dim) == (np.float32, 1280)
    np.testing.assert_allclose(vectors, means / np.sqrt((means**2).sum(axis=1, keepdims=True)), atol=1e-5)


def test_posters_of_any_size_are_squeezed_into_a_square(encoder: KerasPosterEncoder) -> None:
    images = _images((128, 192), (30, 20), (SIZE, SIZE))
    before = [image.copy() for image in images]
    square = [np.asarray(Image.fromarray(i).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for i in images]
    np.testing.assert_allclose(encoder.encode(images), encoder.encode(square), atol=1e-5)
    assert all((image == old).all() for image, old in zip(images, before, strict=True))


def test_no_images_encode_to_no_rows(encoder: KerasPosterEncoder) -> None:
    vectors = encoder.encode([])
    assert (vectors.shape, vectors.dtype) == ((0, 1280), np.float32)


def test_version_names_the_network_its_size_and_its_weights(encoder: KerasPosterEncoder, weights_file: Path) -> None:
    assert encoder.version == f"MobileNetV2-48px-{hashlib.sha256(weights_file.read_bytes()).hexdigest()[:12]}"


def test_unknown_network_is_refused_with_the_known_ones(weights_file: Path) -> None:
    with pytest.raises(EncoderError, match=r"EfficientNetB0, .*MobileNetV2, .*found 'mobilenet'"):
        KerasPosterEncoder("mobilenet", str(weights_file), SIZE, batch_size=2)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"none\.h5: expected MobileNetV2's weights, found no such file"):
        KerasPosterEncoder("MobileNetV2", str(tmp_path / "none.h5"), SIZE, batch_size=2)


def test_weights_of_another_network_are_refused(weights_file: Path) -> None:
    with pytest.raises(EncoderError, match="expected the weights of MobileNet without its top, found others"):
        KerasPosterEncoder("MobileNet", str(weights_file), SIZE, batch_size=2)


def test_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.h5").write_text("<html>")
    with pytest.raises(EncoderError, match="expected the weights of MobileNetV2 without its top, found others"):
        KerasPosterEncoder("MobileNetV2", str(tmp_path / "page.h5"), SIZE, batch_size=2)


def test_weights_in_a_format_that_may_run_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.keras: expected a \.h5 file"):
        KerasPosterEncoder("MobileNetV2", str(tmp_path / "model.keras"), SIZE, batch_size=2)


def test_size_that_the_network_does_not_take_is_refused(weights_file: Path) -> None:
    with pytest.raises(EncoderError, match="MobileNetV2 does not take 16 pixels"):
        KerasPosterEncoder("MobileNetV2", str(weights_file), 16, batch_size=2)
