"""The simulated catalogue: tastes, quality, fame, release days, metadata that carries taste, and offers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from conf.settings import Simulate
from jobs.errors import JobError
from jobs.sources.simulator.simulated_words import FIRST_NAMES, GENRES, SURNAMES, THEMES
from jobs.sources.simulator.simulated_world import (
    COUNTRIES,
    MAINSTREAM_ARCHETYPES,
    NICHE_ARCHETYPES,
    PROVIDERS,
    Ints,
    Mixing,
    Purpose,
    affinities,
    archetypes,
    directions,
    mix_tastes,
    pick,
    stream,
    streams,
    unit,
)
from lake.arrays import Flags, Floats

_TITLE_MIXING = Mixing(niche_share=0.03, max_second_weight=0.8, noise=0.35)
_SHOW_SHARE = 0.3
_BACK_CATALOGUE_MEAN_AGE_DAYS = 3000
_OLDEST_RELEASE_DAYS = 25_000
_FAME_SPREAD = 1.3  # standard deviation of log fame: the top 1 % has about half of the clicks before the simulation
_FAME_FROM_QUALITY = 0.3
_GEM_FAME = 0.02  # of the fame of the same title if it were no gem
_GEM_QUALITY = 1.0

_CAST_CANDIDATES = 40
_MAX_CAST = 6
_MAX_DIRECTORS = 2
_PEOPLE_PER_TITLE = 2
_PERSON_MIXING = Mixing(niche_share=0.1, max_second_weight=0.6, noise=0.3)
# How firmly each kind of metadata follows taste: the factor on the inner product beside Gumbel noise of scale 1.
GENRE_FIRMNESS = 9.0
THEME_FIRMNESS = 12.0
_CAST_FIRMNESS = 6.0
_THEME_NEAR_GENRE = 0.6  # weight of the genre's direction in that of a theme


@dataclass(frozen=True)
class SimulatedCatalogue:
    """All titles announced up to the last day, those released after the first day in order; arrays are per title."""

    title_ids: Ints
    tastes: Floats  # [titles, dim]
    quality: Floats
    fame: Floats  # clicks before the simulation, relative to an average title's
    is_gem: Flags
    release_days: Ints  # relative to the first day; 0 and below are released when the simulation starts
    announced_days: Ints
    is_show: Flags
    origins: Ints  # index into COUNTRIES
    genre_tastes: Floats  # [genres, dim]
    theme_tastes: Floats  # [themes, dim]
    genres: list[list[int]]
    themes: list[list[int]]
    cast: list[list[str]]
    directors: list[list[str]]
    offers: Flags  # [titles, countries, providers]

    def count_released(self, day: int) -> int:
        """Number of titles released by `day`; they are the first ones."""
        return int(np.searchsorted(np.maximum(self.release_days, 0), day, side="right"))

    def release_date(self, title: int, first_day: date) -> date:
        """The calendar day of a title's release."""
        return first_day + timedelta(days=int(self.release_days[title]))


def build_catalogue(seed: int, simulate: Simulate) -> SimulatedCatalogue:
    """The catalogue as of the last simulated day; a title's attributes do not depend on how many days there are."""
    release_days = _release_days(seed, simulate)
    count = len(release_days)
    rngs = streams(seed, Purpose.TITLES)
    archetype_tastes = archetypes(seed, simulate.taste_dims)
    _, tastes = mix_tastes(rngs, archetype_tastes, _TITLE_MIXING, count)
    is_gem = next(rngs).random(count) < simulate.gem_share
    niches = MAINSTREAM_ARCHETYPES + next(rngs).integers(NICHE_ARCHETYPES, size=count)
    tastes[is_gem] = archetype_tastes[niches[is_gem]]
    quality = next(rngs).standard_normal(count, dtype=np.float32)
    quality[is_gem] = np.abs(quality[is_gem]) + np.float32(_GEM_QUALITY)
    log_fame = _FAME_SPREAD * next(rngs).standard_normal(count) + _FAME_FROM_QUALITY * quality
    fame = np.exp(log_fame - _FAME_SPREAD**2 / 2)  # the mean is about 1
    fame[is_gem] *= _GEM_FAME
    # Not consecutive: a reader that takes an id for a row must fail here, not in production.
    title_ids = 1000 + 7 * np.arange(count) + next(rngs).integers(7, size=count)
    is_show = next(rngs).random(count) < _SHOW_SHARE
    origins = pick(np.array([country.title_share for country in COUNTRIES]), next(rngs).random(count))
    genre_tastes, theme_tastes = _word_tastes(seed, simulate.taste_dims)
    cast, directors = _credits(seed, simulate, archetype_tastes, tastes)
    return SimulatedCatalogue(
        title_ids=title_ids,
        tastes=tastes,
        quality=quality,
        fame=fame.astype(np.float32),
        is_gem=is_gem,
        release_days=release_days,
        announced_days=np.maximum(release_days - simulate.announced_days_ahead, -_OLDEST_RELEASE_DAYS),
        is_show=is_show,
        origins=origins,
        genre_tastes=genre_tastes,
        theme_tastes=theme_tastes,
        genres=_likeliest(next(rngs), tastes, genre_tastes, GENRE_FIRMNESS, 1 + next(rngs).integers(3, size=count)),
        themes=_likeliest(next(rngs), tastes, theme_tastes, THEME_FIRMNESS, 2 + next(rngs).integers(4, size=count)),
        cast=cast,
        directors=directors,
        offers=_offers(seed, count),
    )


def _release_days(seed: int, simulate: Simulate) -> Ints:
    """Days of release [titles]: the back catalogue in any order, then later releases in order."""
    horizon = simulate.announced_days_ahead + simulate.days - 1
    per_day = stream(seed, Purpose.RELEASES).poisson(simulate.releases_per_day, size=horizon)
    announced_on_first_day = int(per_day[: simulate.announced_days_ahead].sum())
    count_released = simulate.titles - announced_on_first_day
    if count_released < simulate.impressions_per_session * 2:
        raise JobError(
            f"simulate.titles is {simulate.titles}, of which {announced_on_first_day} are not released on the first "
            f"day: expected at least {simulate.impressions_per_session * 2} released; raise simulate.titles or lower "
            "simulate.releases_per_day"
        )
    ages = stream(seed, Purpose.RELEASES, 1).exponential(_BACK_CATALOGUE_MEAN_AGE_DAYS, size=count_released)
    back_catalogue = -np.minimum(ages.astype(np.int64), _OLDEST_RELEASE_DAYS)
    return np.concatenate([back_catalogue, np.repeat(np.arange(1, horizon + 1), per_day)])


def _word_tastes(seed: int, dims: int) -> tuple[Floats, Floats]:
    """Directions of genres [genres, dim] and themes [themes, dim], a theme's near its genre's."""
    rng = stream(seed, Purpose.WORDS)
    genre_tastes = directions(rng, len(GENRES), dims)
    genre_names = list(GENRES)
    of_theme = genre_tastes[[genre_names.index(theme.genre) for theme in THEMES.values()]]
    theme_directions = directions(rng, len(THEMES), dims)
    return genre_tastes, unit(np.float32(_THEME_NEAR_GENRE) * of_theme + theme_directions)


def _likeliest(
    rng: np.random.Generator, tastes: Floats, labels: Floats, firmness: float, how_many: Ints
) -> list[list[int]]:
    """Labels of each title, best first, drawn by fit plus noise."""
    scores = firmness * affinities(tastes, labels) + rng.gumbel(size=(len(tastes), len(labels)))
    order = np.argsort(-scores, axis=1, kind="stable").tolist()
    return [ranked[:n] for ranked, n in zip(order, how_many.tolist(), strict=True)]


def _credits(
    seed: int, simulate: Simulate, archetype_tastes: Floats, tastes: Floats
) -> tuple[list[list[str]], list[list[str]]]:
    """Cast and directors of each title: a few have many titles, and their tastes are near the title's."""
    rngs = streams(seed, Purpose.PEOPLE)
    count_people = _PEOPLE_PER_TITLE * simulate.titles  # as of the first day: the pool must not grow with the days
    _, person_tastes = mix_tastes(rngs, archetype_tastes, _PERSON_MIXING, count_people)
    names = _names(int(next(rngs).integers(len(FIRST_NAMES) * len(SURNAMES))), count_people)
    cast = _people_of(rngs, person_tastes, tastes, _MAX_CAST)
    directors = _people_of(rngs, person_tastes, tastes, _MAX_DIRECTORS)
    return [[names[i] for i in row] for row in cast], [[names[i] for i in row] for row in directors]


def _people_of(
    rngs: Iterator[np.random.Generator], person_tastes: Floats, tastes: Floats, at_most: int
) -> list[list[int]]:
    count = len(tastes)
    # Squared: the first people of the pool are the stars.
    drawn = (next(rngs).random((count, _CAST_CANDIDATES)) ** 2 * len(person_tastes)).astype(np.int64)
    noise = next(rngs).gumbel(size=drawn.shape)
    how_many = 1 + next(rngs).integers(at_most, size=count)
    chosen = []
    for title in range(count):
        scores = _CAST_FIRMNESS * np.einsum("cd,d->c", person_tastes[drawn[title]], tastes[title]) + noise[title]
        ranked = dict.fromkeys(drawn[title, np.argsort(-scores, kind="stable")].tolist())
        chosen.append(list(ranked)[: how_many[title]])
    return chosen


def _names(start: int, count: int) -> list[str]:
    """Distinct names of `count` people; a middle initial tells apart those beyond all first and last names."""
    pairs = len(FIRST_NAMES) * len(SURNAMES)
    stride = 7919  # a prime that shares no factor with the pairs: every pair comes once before any comes twice
    names = []
    for person in range(count):
        first, last = divmod((start + stride * person) % pairs, len(SURNAMES))
        repeat = person // pairs
        middle = f" {_initials(repeat)}" if repeat else ""
        names.append(f"{FIRST_NAMES[first]}{middle} {SURNAMES[last]}")
    return names


def _initials(number: int) -> str:
    return f"{chr(ord('A') + (number - 1) % 26)}." + (f" {_initials((number - 1) // 26)}" if number > 26 else "")


def _offers(seed: int, count: int) -> Flags:
    """Offers as flags [titles, countries, providers]."""
    rngs = streams(seed, Purpose.OFFERS)
    carries: NDArray[np.float64] = np.array([provider.carries for provider in PROVIDERS])
    # A title that sells widely is on offer in more countries, at home or not.
    reach = 0.5 + next(rngs).random((count, 1, 1))
    return next(rngs).random((count, len(COUNTRIES), len(PROVIDERS))) < carries * reach


def offer_lines(catalogue: SimulatedCatalogue, count_released: int) -> Iterator[bytes]:
    """Lines of the offers feed, for released titles only."""
    for title, country, provider in np.argwhere(catalogue.offers[:count_released]).tolist():
        for monetization_type in PROVIDERS[provider].monetization_types:
            yield (
                f'{{"title_id":{catalogue.title_ids[title]},"country":"{COUNTRIES[country].code}",'
                f'"provider_id":"{PROVIDERS[provider].provider_id}","monetization_type":"{monetization_type}"}}'
            ).encode()


def labels_of(indices: Sequence[int], names: Sequence[str]) -> list[str]:
    """Names at `indices`, in their order."""
    return [names[index] for index in indices]
