import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.features.encoders.errors import PosterError
from jobs.features.encoders.posters import DescriptorEncoder, decode_poster

MAX_BYTES, MAX_PIXELS = 200_000, 100_000
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def _file(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _halves(left: Any, right: Any, mode: str = "RGB") -> Image.Image:
    """16 wide, 24 high, each half one colour."""
    image = Image.new(mode, (16, 24), left)
    image.paste(right, (8, 0, 16, 24))
    return image


def _decode(content: bytes, name: str) -> np.ndarray:
    return decode_poster(content, name, MAX_BYTES, MAX_PIXELS)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_bomb(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that says it is enormous."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = _file(_halves(RED, BLUE), "JPEG", quality=95)
PNG = _file(_halves(RED, BLUE), "PNG")

# name: (content, file name, the reason)
REFUSED = {
    "empty": (b"", "a.jpg", "empty file"),
    "too long": (b"\xff\xd8\xff" * 70_000, "a.jpg", "210000 bytes, the limit is 200000"),
    "too many pixels": (
        *(_file(Image.new("L", (500, 201)), "PNG"), "a.png"),
        "500 x 201 pixels, the limit is 100000",
    ),
    "bomb": (_png_bomb(12_000, 12_000), "a.png", "12000 x 12000 pixels, the limit is 100000"),
    # Pillow itself stops at twice its MAX_IMAGE_PIXELS.
    "larger bomb": (_png_bomb(2**31 - 1, 2**31 - 1), "a.png", "more than 178956970 pixels"),
    "text": (b"Not found", "a.jpg", "not an image"),
    "zeros": (bytes(500), "a.jpg", "not an image"),
    "page": (
        *(b"\n<!DOCTYPE html><html></html>", "a.jpg"),
        "mislabelled: named .jpg, which is JPEG, but the content is HTML",
    ),
    "answer": (b'{"error": 404}', "a.webp", "mislabelled: named .webp, which is WEBP, but the content is JSON"),
    "JPEG as PNG": (JPEG, "A.PNG", "mislabelled: named .png, which is PNG, but the content is JPEG"),
    "PNG as JPEG": (PNG, "a.jpeg", "mislabelled: named .jpeg, which is JPEG, but the content is PNG"),
    "JPEG as GIF": (JPEG, "a.gif", "mislabelled: named .gif, which is GIF, but the content is JPEG"),
    "GIF": (_file(_halves(RED, BLUE), "GIF"), "a.gif", "format GIF, expected one of JPEG, PNG, WEBP"),
    "BMP": (_file(_halves(RED, BLUE), "BMP"), "a", "format BMP, expected one of JPEG, PNG, WEBP"),
    "TIFF": (_file(_halves(RED, BLUE), "TIFF"), "a.tif", "format TIFF, expected one of JPEG, PNG, WEBP"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "format SVG, expected one of JPEG, PNG, WEBP"),
    "too narrow": (
        *(_file(Image.new("L", (7, 100)), "PNG"), "a.png"),
        "7 x 100 pixels, expected at least 8 a side",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_poster_is_refused_with_its_reason(name: str) -> None:
    content, file_name, reason = REFUSED[name]
    with pytest.raises(PosterError) as refusal:
        _decode(content, file_name)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_poster_is_refused_in_one_line(file_format: str, share: float) -> None:
    content = _file(_noise(64, 96), file_format)
    with pytest.raises(PosterError) as refusal:
        _decode(content[: int(share * len(content))], f"a.{file_format.lower()}")
    assert str(refusal.value).startswith(f"truncated or corrupt {file_format}: ")
    assert "\n" not in str(refusal.value)


def test_spoiled_bytes_give_pixels_or_a_reason_and_nothing_else() -> None:
    spoil = np.random.default_rng(5)
    contents = {name: _file(_noise(16, 24), name) for name in ("JPEG", "PNG", "WEBP")}
    refused = 0
    for turn in range(600):
        file_format = ("JPEG", "PNG", "WEBP")[turn % 3]
        content = np.frombuffer(contents[file_format], np.uint8).copy()
        content[spoil.integers(12, len(content), 5)] = spoil.integers(0, 256, 5)
        try:
            pixels = _decode(content.tobytes(), f"a.{file_format.lower()}")
            assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 3)
        except PosterError:
            refused += 1
    assert 200 < refused < 600


def test_bytes_and_pixels_at_the_limit_are_taken() -> None:
    content = _file(Image.new("RGB", (20, 10), RED), "PNG")
    assert decode_poster(content, "a.png", len(content), 200).tolist() == [[list(RED)] * 20] * 10


def test_extension_that_names_no_format_does_not_matter() -> None:
    assert _decode(PNG, "poster").tolist() == _decode(PNG, "a.png").tolist()


def _sides(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    """The colours of the middles of the left and of the right half."""
    return pixels[12, 3].tolist(), pixels[12, 12].tolist()


@pytest.mark.parametrize(
    "content",
    [
        (PNG, "a.png"),
        (_file(_halves(RED, BLUE), "WEBP", lossless=True), "a.webp"),
        (_file(_halves(RED, BLUE).quantize(4), "PNG"), "a.png"),
    ],
    ids=["PNG", "WEBP", "palette"],
)
def test_lossless_colours_come_out_as_they_are(content: tuple[bytes, str]) -> None:
    pixels = _decode(*content)
    assert (pixels.shape, pixels.dtype) == ((24, 16, 3), np.uint8)
    assert _sides(pixels) == (list(RED), list(BLUE))


@pytest.mark.parametrize(
    ("mode", "left", "right", "expected"),
    [
        ("RGBA", (255, 0, 0, 255), (0, 0, 255, 0), (RED, WHITE)),
        # A fifth of blue over white: 255 * 0.8 = 204.
        ("RGBA", (255, 0, 0, 0), (0, 0, 255, 51), (WHITE, (204, 204, 255))),
        ("LA", (0, 255), (0, 0), ((0, 0, 0), WHITE)),
        ("L", 0, 200, ((0, 0, 0), (200, 200, 200))),
        ("1", 0, 1, ((0, 0, 0), WHITE)),
        # The upper of two bytes.
        ("I;16", 0x1234, 0xFF00, ((0x12,) * 3, (0xFF,) * 3)),
    ],
)
def test_every_mode_becomes_rgb_on_white(mode: str, left: Any, right: Any, expected: Any) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.repeat([[left] * 8 + [right] * 8], 24, axis=0).astype(np.uint16))
    else:
        image = _halves(left, right, mode)
    assert _sides(_decode(_file(image, "PNG"), "a.png")) == tuple(list(colour) for colour in expected)


def test_transparent_entry_of_a_palette_is_white() -> None:
    image = _halves(0, 1, "P")
    image.putpalette([*GREEN, *BLUE])
    assert _sides(_decode(_file(image, "PNG", transparency=0), "a.png")) == (list(WHITE), list(BLUE))


def test_cmyk_colours_are_not_inverted() -> None:
    # No ink is white, all yellow and magenta is red.
    image = _halves((0, 0, 0, 0), (0, 255, 255, 0), "CMYK")
    left, right = _sides(_decode(_file(image, "JPEG", quality=95), "a.jpg"))
    np.testing.assert_allclose([left, right], [WHITE, RED], atol=6)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_turns_the_picture_upright(
    file_format: str, orientation: int, corner: tuple[int, int]
) -> None:
    # Red where the stored picture begins; `corner` is where the EXIF standard shows that corner.
    image = Image.new("RGB", (32, 48), BLUE)
    image.paste(RED, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = _decode(_file(image, file_format, exif=exif), f"a.{file_format.lower()}").astype(int)
    assert pixels.shape == ((48, 32, 3) if orientation < 5 else (32, 48, 3))
    is_red = pixels[:, :, 0] - pixels[:, :, 2] > 100
    assert is_red[corner]
    assert [bool(is_red[y, x]) for y in (0, -1) for x in (0, -1)].count(True) == 1


def test_unreadable_exif_does_not_cost_the_picture() -> None:
    content = _file(_halves(RED, BLUE), "WEBP", lossless=True, exif=b"Exif\0\0not a TIFF header")
    assert _sides(_decode(content, "a.webp")) == (list(RED), list(BLUE))


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def _scene(seed: int) -> Image.Image:
    """Twelve coloured boxes on a coloured ground, as rough as a poster is."""
    draw = np.random.default_rng(seed)
    image = Image.new("RGB", (120, 180), tuple(draw.integers(0, 256, 3)))
    for _ in range(12):
        x, y, width, height = (int(n) for n in draw.integers([0, 0, 10, 10], [100, 160, 60, 80]))
        image.paste(tuple(int(n) for n in draw.integers(0, 256, 3)), (x, y, x + width, y + height))
    return image


def _plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((30, 20, 3), colour, np.uint8)


def _vectors(*images: Image.Image | np.ndarray) -> np.ndarray:
    return DescriptorEncoder().encode([np.asarray(image) for image in images])


def test_picture_resized_or_recompressed_is_nearer_than_any_other() -> None:
    scenes = [_scene(seed) for seed in range(12)]
    changed = [
        [scene.resize((64, 100)) for scene in scenes],
        [scene.resize((300, 450)) for scene in scenes],
        [Image.open(io.BytesIO(_file(scene, "JPEG", quality=25))) for scene in scenes],
    ]
    vectors = _vectors(*scenes)
    for images in changed:
        cosines = _vectors(*images) @ vectors.T
        assert cosines.argmax(axis=1).tolist() == list(range(12))
        assert cosines.diagonal().min() > 0.9
        assert np.sort(cosines, axis=1)[:, -2].max() < 0.9


def test_similar_colours_have_similar_vectors() -> None:
    red, dark_red, orange, blue = _vectors(*[_plain(c) for c in (RED, (200, 20, 20), (255, 60, 0), BLUE)])
    assert red @ dark_red > 0.5 > red @ blue
    assert red @ orange > red @ blue


def test_position_of_colours_counts() -> None:
    one, mirrored, faded = _vectors(_halves(RED, BLUE), _halves(BLUE, RED), _halves((230, 20, 20), (20, 20, 230)))
    assert one @ faded > one @ mirrored


def test_direction_of_edges_counts() -> None:
    stripes = np.tile(np.repeat([60, 190], 6), 8)
    across = np.repeat(np.repeat(stripes[:, None], 96, axis=1)[:, :, None], 3, axis=2).astype(np.uint8)
    shifted = np.roll(across, 3, axis=0)
    along = across.transpose(1, 0, 2).copy()
    one, same_way, other_way = _vectors(across, shifted, along)
    assert one @ same_way > 0.9 > 0.7 > one @ other_way


@pytest.mark.parametrize("colour", [(0, 0, 0), WHITE, (128, 128, 128), RED, (38, 38, 38)])
def test_one_colour_all_over_has_a_unit_vector(colour: tuple[int, int, int]) -> None:
    vector = _vectors(_plain(colour))[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_faint_noise_hardly_changes_a_flat_picture() -> None:
    noisy = _plain((120, 60, 60)) + np.random.default_rng(2).integers(0, 3, (30, 20, 3)).astype(np.uint8)
    flat, almost_flat = _vectors(_plain((120, 60, 60)), noisy)
    assert flat @ almost_flat > 0.95


def test_no_block_dominates() -> None:
    # A block's share of a vector's squared length; dims of layout and histogram: 10 + 6 + 6, then 6 + 8 * 3 * 3.
    squares = _vectors(*[_scene(seed) for seed in range(12)]) ** 2
    shares = [part.sum(axis=1) for part in np.split(squares, [22, 100], axis=1)]
    assert all(share.min() > 0.2 and share.max() < 0.5 for share in shares)


def test_descriptor_does_not_depend_on_the_batch() -> None:
    images = [np.asarray(_scene(seed)) for seed in range(3)]
    together = DescriptorEncoder().encode(images)
    alone = np.concatenate([DescriptorEncoder().encode([image]) for image in images])
    assert together.tobytes() == alone.tobytes()


def test_no_images_encode_to_no_rows() -> None:
    vectors = DescriptorEncoder().encode([])
    assert (vectors.shape, vectors.dtype) == ((0, DescriptorEncoder().dim), np.float32)


def test_smallest_and_longest_pictures_are_encoded() -> None:
    vectors = _vectors(np.zeros((8, 8, 3), np.uint8), np.zeros((2000, 8, 3), np.uint8))
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
