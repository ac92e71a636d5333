"""Simulated posters: small images drawn from taste, so that similar taste looks similar."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from conf.settings import Simulate
from jobs.sources.simulator.simulated_catalogue import SimulatedCatalogue
from jobs.sources.simulator.simulated_titles import has_poster, poster_name
from jobs.sources.simulator.simulated_world import Purpose, directions, streams
from lake.arrays import Floats

_WIDTH, _HEIGHT = 64, 96
_CORNERS, _SHAPES, _CHANNELS = 4, 2, 3
_COLOURS = _CORNERS + _SHAPES
_CONTRAST = 55.0  # standard deviation of a colour channel over titles, in grey levels
_COLOUR_NOISE = 45.0
_JPEG_QUALITY = 88


def write_posters(folder: Path, seed: int, simulate: Simulate, catalogue: SimulatedCatalogue) -> int:
    """One JPEG per title that has a poster; returns how many."""
    folder.mkdir(parents=True)
    rngs = streams(seed, Purpose.POSTERS)
    next(rngs)  # which titles have a poster
    count, dims = catalogue.tastes.shape
    projection = directions(next(rngs), _COLOURS * _CHANNELS, dims) * np.float32(_CONTRAST * dims**0.5)
    noise = _COLOUR_NOISE * next(rngs).standard_normal((count, _COLOURS, _CHANNELS), dtype=np.float32)
    centres = next(rngs).random((count, _SHAPES, 2)).tolist()
    for title in np.flatnonzero(has_poster(seed, simulate, count)).tolist():
        levels = np.einsum("cd,d->c", projection, catalogue.tastes[title]).reshape(_COLOURS, _CHANNELS)
        image = _draw(128 + levels + noise[title], centres[title])
        image.save(folder / poster_name(catalogue, title), format="JPEG", quality=_JPEG_QUALITY)
    return sum(1 for _ in folder.iterdir())


def _draw(colours: Floats, centres: list[list[float]]) -> Image.Image:
    """A gradient between four corner colours with a disc above and a bar below; colours [corners + shapes, channel]."""
    corners = np.clip(colours[:_CORNERS], 0, 255).astype(np.uint8).reshape(2, 2, _CHANNELS)
    image = Image.fromarray(corners).resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)
    disc, bar = (tuple(np.clip(colour, 0, 255).astype(int).tolist()) for colour in colours[_CORNERS:])
    canvas = ImageDraw.Draw(image)
    # Placed at random, each within one half: only colour carries taste.
    x, y = _WIDTH * (0.3 + 0.4 * centres[0][0]), _HEIGHT * (0.25 + 0.1 * centres[0][1])
    canvas.ellipse((x - 15, y - 15, x + 15, y + 15), fill=disc)
    left, top = _WIDTH * 0.3 * centres[1][0], _HEIGHT * (0.68 + 0.08 * centres[1][1])
    canvas.rectangle((left, top, left + _WIDTH * 0.7, top + 14), fill=bar)
    return image
