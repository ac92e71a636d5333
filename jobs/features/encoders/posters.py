"""Decoding of poster files, with the reason for an unusable one, and a poster encoder without learned weights."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.fft import dctn

from jobs.features.encoders.errors import PosterError
from jobs.features.encoders.unit import unit_rows

_FORMATS = ("JPEG", "PNG", "WEBP")
_EXTENSIONS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP"}
_MIN_SIDE = 8

# First bytes of file formats, to name the format of an unexpected file.
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"<": "HTML",
    b"{": "JSON",
}


def decode_poster(content: bytes, name: str, max_bytes: int, max_pixels: int) -> np.ndarray:
    """[height, width, 3] uint8 of a JPEG, PNG or WebP file, upright, on white where it is transparent.

    `name` is the file name; its extension must not contradict the content. Of an animation the first picture is taken.
    Raises PosterError with the reason. Nothing is decoded before its size was checked.
    """
    if not content:
        raise PosterError("empty file")
    if len(content) > max_bytes:
        raise PosterError(f"{len(content)} bytes, the limit is {max_bytes}")
    actual = _format(content)
    _check_format(actual, PurePosixPath(name).suffix.lower())
    with warnings.catch_warnings():
        # Pillow warns of many pixels, which max_pixels limits here, and of tags that it skips.
        warnings.simplefilter("ignore")
        return _pixels(_load(_open(content, actual), max_pixels))


def _format(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        return "AVIF or HEIC" if content[8:12] in (b"avif", b"avis", b"heic", b"mif1") else "MP4"
    text = content[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, name in _BEGINNINGS.items():
        if content.startswith(beginning) or text.startswith(beginning):
            return name
    return None


def _check_format(actual: str | None, extension: str) -> None:
    expected = _EXTENSIONS.get(extension)
    if actual is None:
        raise PosterError("not an image")
    if expected not in (None, actual):
        raise PosterError(f"mislabelled: named {extension}, which is {expected}, but the content is {actual}")
    if actual not in _FORMATS:
        raise PosterError(f"format {actual}, expected one of {', '.join(_FORMATS)}")


def _open(content: bytes, actual: str | None) -> Image.Image:
    """Read the header with the decoder of the detected format and no other."""
    try:
        return Image.open(io.BytesIO(content), formats=[str(actual)])
    except Image.DecompressionBombError:
        raise PosterError(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except Exception as error:  # Pillow raises a dozen types, as in decoding
        reason = "unreadable header" if isinstance(error, UnidentifiedImageError) else str(error)
        raise PosterError(_line(f"truncated or corrupt {actual}: {reason}")) from None


def _load(image: Image.Image, max_pixels: int) -> Image.Image:
    """The picture, decoded and upright."""
    width, height = image.size
    if width * height > max_pixels:
        raise PosterError(f"{width} x {height} pixels, the limit is {max_pixels}")
    if min(width, height) < _MIN_SIDE:
        raise PosterError(f"{width} x {height} pixels, expected at least {_MIN_SIDE} a side")
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise a dozen types
        raise PosterError(_line(f"truncated or corrupt {image.format}: {error}")) from None
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # with unreadable EXIF the picture is used as it is stored
        return image


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _pixels(image: Image.Image) -> np.ndarray:
    """[height, width, 3] uint8 of any of Pillow's modes."""
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow would clip values above 255.
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


_GRID = 8
_LUMA_COEFFICIENTS, _CHROMA_COEFFICIENTS = 10, 6
_HUES, _SATURATIONS, _VALUES, _GREYS = 8, 3, 3, 6
# Below this saturation or value the hue is noise.
_FAINT = 0.15
_HISTOGRAM_SIZE = (32, 48)
# Two to three, as posters are.
_EDGES_SIZE = (64, 96)
_CELL, _ORIENTATIONS = 16, 8
# Share of full contrast: weaker gradients are grain or compression artefacts.
_FAINT_EDGE = 0.03
# Added in quadrature to a block's length, so that small differences in a flat picture are not amplified. Real posters
# are well above.
_LAYOUT_FLOOR, _EDGES_FLOOR = 0.05, 1.0


@dataclass(frozen=True)
class DescriptorEncoder:
    """Descriptors of a picture's colour layout, colour histogram and edge orientations; nothing is learned.

    Three blocks, each of length at most one, so that none dominates by its size or scale:

    - colour layout: means over a grid in YCbCr, their DCT, its lowest frequencies. Kasutani, Yamada. 2001. The MPEG-7
      Color Layout Descriptor. ICIP, with 10, 6 and 6 coefficients, not quantised;
    - colour histogram: hue, saturation and value, greys separate, square roots taken. Swain, Ballard. 1991. Color
      Indexing. IJCV 7(1); the root, which makes cosine the Bhattacharyya coefficient: Arandjelović, Zisserman. 2012.
      Three Things Everyone Should Know to Improve Object Retrieval. CVPR, section 3. It is never zero, so that even
      a picture of one colour has a vector;
    - edges: histograms of gradient orientation in cells. Dalal, Triggs. 2005. Histograms of Oriented Gradients for
      Human Detection. CVPR, with each cell's mean subtracted: otherwise all pictures are similar in having edges
      everywhere.

    `version` names the formulas and changes with any of their constants.
    """

    version: str = field(default="descriptor-1", init=False)
    dim: int = field(
        default=_LUMA_COEFFICIENTS
        + 2 * _CHROMA_COEFFICIENTS
        + _GREYS
        + _HUES * _SATURATIONS * _VALUES
        + _EDGES_SIZE[0] * _EDGES_SIZE[1] // _CELL**2 * _ORIENTATIONS,
        init=False,
    )

    def encode(self, images: Sequence[np.ndarray]) -> np.ndarray:  # [images, dim] float32
        """Unit rows; `images` are [height, width, 3] uint8, of any sizes."""
        vectors = np.zeros((len(images), self.dim))
        for row, pixels in enumerate(images):
            image = Image.fromarray(pixels)
            layout = _softly_unit(_colour_layout(image), _LAYOUT_FLOOR)
            edges = _softly_unit(_edge_orientations(image), _EDGES_FLOOR)
            vectors[row] = np.concatenate([layout, _colour_histogram(image), edges])
        return unit_rows(vectors)


def _softly_unit(block: np.ndarray, floor: float) -> np.ndarray:
    return block / np.sqrt(np.sum(block**2) + floor**2)


def _colour_layout(image: Image.Image) -> np.ndarray:
    means = np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX).convert("YCbCr"), np.float64) / 128 - 1
    coefficients = dctn(means, axes=(0, 1), norm="ortho").reshape(_GRID**2, 3) / _GRID
    frequency = np.add.outer(np.arange(_GRID), np.arange(_GRID)).ravel()
    luma, blue, red = coefficients[np.argsort(frequency, kind="stable")].T
    return np.concatenate([luma[:_LUMA_COEFFICIENTS], blue[:_CHROMA_COEFFICIENTS], red[:_CHROMA_COEFFICIENTS]])


def _colour_histogram(image: Image.Image) -> np.ndarray:  # of length one
    small = image.resize(_HISTOGRAM_SIZE, Image.Resampling.BOX).convert("HSV")
    hue, saturation, value = np.asarray(small, np.float64).reshape(-1, 3).T / 255
    is_grey = (saturation < _FAINT) | (value < _FAINT)
    greys = np.bincount(_bin(value[is_grey], _GREYS), minlength=_GREYS)
    strength = (saturation[~is_grey] - _FAINT) / (1 - _FAINT), (value[~is_grey] - _FAINT) / (1 - _FAINT)
    tone = _bin(strength[0], _SATURATIONS) * _VALUES + _bin(strength[1], _VALUES)
    colours = _circular_histogram(hue[~is_grey], _HUES, tone, _SATURATIONS * _VALUES, np.ones(len(tone)))
    return np.sqrt(np.concatenate([greys, colours]) / len(hue))


def _edge_orientations(image: Image.Image) -> np.ndarray:
    small = image.convert("L").resize(_EDGES_SIZE, Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float64) / 255
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[1:-1], right[:, 1:-1] = grey[2:] - grey[:-2], grey[:, 2:] - grey[:, :-2]
    height, width = grey.shape
    row, column = np.indices(grey.shape) // _CELL
    cells = (row * (width // _CELL) + column).ravel()
    # An edge has no direction: half a turn gives the same edge.
    turn = np.mod(np.arctan2(down, right), np.pi).ravel() / np.pi
    strength = np.maximum(np.hypot(down, right) - _FAINT_EDGE, 0).ravel()
    count = height * width // _CELL**2
    roots = np.sqrt(_circular_histogram(turn, _ORIENTATIONS, cells, count, strength)).reshape(count, _ORIENTATIONS)
    return (roots - roots.mean(axis=1, keepdims=True)).ravel()


def _bin(share: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((share * bins).astype(int), bins - 1)


def _circular_histogram(
    turns: np.ndarray, bins: int, groups: np.ndarray, count_groups: int, weights: np.ndarray
) -> np.ndarray:  # [count_groups * bins]
    """A histogram of angles, in turns, per group; each angle is shared by the two bins it lies between."""
    scaled = turns * bins
    lower = np.floor(scaled).astype(int)
    share = scaled - lower
    size = count_groups * bins
    below = np.bincount(groups * bins + lower % bins, weights * (1 - share), size)
    return below + np.bincount(groups * bins + (lower + 1) % bins, weights * share, size)
