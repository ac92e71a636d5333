"""Basis of the simulator's users and titles: seeded random streams, taste archetypes, countries and providers."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.arrays import Flags, Floats

Ints = NDArray[np.int64]


class Purpose(IntEnum):
    """Purpose of a random stream; the numbers must keep their meaning, else the same seed gives another simulation."""

    ARCHETYPES = 1
    RELEASES = 2
    TITLES = 3
    PEOPLE = 4
    WORDS = 5
    POSTERS = 6
    OFFERS = 7
    USERS = 8
    JOINS = 9
    CONSENTS = 10
    SESSIONS = 11
    DELIVERY = 12
    TABLES = 13


class Country(NamedTuple):
    code: str
    user_share: float
    title_share: float
    language: str
    utc_offset_hours: int


class Provider(NamedTuple):
    provider_id: str
    monetization_types: tuple[str, ...]
    carries: float  # share of titles on offer, of those that a country has


COUNTRIES = (
    Country("US", 0.34, 0.42, "en", -5),
    Country("GB", 0.14, 0.12, "en", 0),
    Country("DE", 0.12, 0.07, "de", 1),
    Country("FR", 0.09, 0.09, "fr", 1),
    Country("BR", 0.08, 0.03, "pt", -3),
    Country("ES", 0.06, 0.05, "es", 1),
    Country("IT", 0.05, 0.05, "it", 1),
    Country("IN", 0.04, 0.06, "hi", 5),
    Country("JP", 0.03, 0.05, "ja", 9),
    Country("KR", 0.02, 0.04, "ko", 9),
    Country("AU", 0.02, 0.01, "en", 10),
    Country("CH", 0.01, 0.01, "de", 1),
)
PROVIDERS = (
    Provider("lumen", ("flatrate",), 0.22),
    Provider("northstar", ("flatrate",), 0.18),
    Provider("paperkite", ("flatrate",), 0.14),
    Provider("reelhouse", ("flatrate", "ads"), 0.10),
    Provider("cinematheque", ("flatrate",), 0.05),
    Provider("openscreen", ("free",), 0.06),
    Provider("parade", ("ads",), 0.10),
    Provider("vendo", ("rent", "buy"), 0.45),
    Provider("kiosk", ("rent", "buy"), 0.30),
    Provider("keepsake", ("buy",), 0.20),
)
IS_SUBSCRIPTION: Flags = np.array(["flatrate" in provider.monetization_types for provider in PROVIDERS])

MAINSTREAM_ARCHETYPES = 18
NICHE_ARCHETYPES = 6  # tastes of a few users each, which hidden gems match exactly
ARCHETYPES = MAINSTREAM_ARCHETYPES + NICHE_ARCHETYPES


@dataclass(frozen=True)
class Mixing:
    """Spread of tastes around archetypes."""

    niche_share: float
    max_second_weight: float  # a second archetype weighs up to this much of the first
    noise: float  # length of the random part beside a first archetype of length 1


def streams(seed: int, purpose: Purpose) -> Iterator[np.random.Generator]:
    """One stream per column, so that a column over more rows starts with the values of one over fewer."""
    part = 0
    while True:
        yield stream(seed, purpose, part)
        part += 1


def stream(seed: int, purpose: Purpose, part: int = 0) -> np.random.Generator:
    """Stream of one purpose and part (a column or a day), independent of anything drawn before."""
    return np.random.default_rng([seed, purpose, part])


def unit(vectors: Floats) -> Floats:
    """`vectors` [..., dim] at length 1."""
    lengths: Floats = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))
    return vectors / lengths[..., None]


def directions(rng: np.random.Generator, count: int, dims: int) -> Floats:
    """Random unit vectors [count, dim]."""
    return unit(rng.standard_normal((count, dims), dtype=np.float32))


def archetypes(seed: int, dims: int) -> Floats:
    """The tastes [ARCHETYPES, dim] that all others are mixtures of; the niche ones come last."""
    return directions(stream(seed, Purpose.ARCHETYPES), ARCHETYPES, dims)


def affinities(left: Floats, right: Floats) -> Floats:
    """Inner products [n, m] of tastes [n, dim] and [m, dim].

    By einsum, not BLAS: the bits of a row must not depend on the number of rows, which grows with the days.
    """
    product: Floats = np.einsum("nd,md->nm", left, right)
    return product


def pick(shares: NDArray[np.floating], uniforms: NDArray[np.float64]) -> Ints:
    """Indices drawn with probabilities proportional to `shares`, one per uniform number of [0, 1)."""
    cumulative = np.cumsum(shares)
    drawn: Ints = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    return np.minimum(drawn, len(shares) - 1)


def mix_tastes(
    rngs: Iterator[np.random.Generator], archetype_tastes: Floats, mixing: Mixing, count: int
) -> tuple[Ints, Floats]:
    """First archetype [count] and taste [count, dim] of `count` users or titles."""
    mainstream_shares = np.arange(1, MAINSTREAM_ARCHETYPES + 1, dtype=np.float64) ** -0.5
    mainstream_shares *= (1 - mixing.niche_share) / mainstream_shares.sum()
    shares = np.concatenate([mainstream_shares, np.full(NICHE_ARCHETYPES, mixing.niche_share / NICHE_ARCHETYPES)])
    first = pick(shares, next(rngs).random(count))
    second = pick(mainstream_shares, next(rngs).random(count))
    weight = mixing.max_second_weight * next(rngs).random(count, dtype=np.float32)
    weight[first >= MAINSTREAM_ARCHETYPES] = 0  # niche tastes have no mainstream part
    dims = archetype_tastes.shape[1]
    noise = next(rngs).standard_normal((count, dims), dtype=np.float32) * np.float32(mixing.noise / dims**0.5)
    return first, unit(archetype_tastes[first] + weight[:, None] * archetype_tastes[second] + noise)
