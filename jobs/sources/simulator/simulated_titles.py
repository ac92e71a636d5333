"""The simulated titles feed: names, plots and dates as text, one JSON line per title."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, count
from string import capwords

import numpy as np

from conf.settings import Simulate
from jobs.sources.simulator.simulated_catalogue import SimulatedCatalogue, labels_of
from jobs.sources.simulator.simulated_words import (
    ENDINGS,
    GENRES,
    NOUNS_PER_PLOT,
    OPENINGS,
    THEMES,
    TITLE_PATTERNS,
    TURNS,
)
from jobs.sources.simulator.simulated_world import COUNTRIES, Purpose, affinities, streams

_PLOT_FIRMNESS = 11.0  # how firmly the words of a plot follow taste: see GENRE_FIRMNESS
_SMALL_WORDS = frozenset({"and", "of", "the", "for", "a", "to"})
_COPRODUCTION_SHARE = 0.2
_SHOW_MINUTES = (22, 61)
_MOVIE_MINUTES = (78, 181)
_GENRE_LIST = list(GENRES)
_THEME_LIST = list(THEMES)
_UNIFORMS = 24 + NOUNS_PER_PLOT  # per title, for every choice of words


class _Chooser:
    """Picks words by one title's uniform numbers, each used once, in order."""

    def __init__(self, uniforms: list[float]) -> None:
        self._uniforms = iter(uniforms)

    def one_of(self, words: Sequence[str]) -> str:
        return words[int(next(self._uniforms) * len(words))]


def title_lines(seed: int, simulate: Simulate, catalogue: SimulatedCatalogue) -> Iterator[bytes]:
    """Lines of the titles feed; a plot or a poster is missing at random, independent of the title."""
    titles = len(catalogue.title_ids)
    rngs = streams(seed, Purpose.WORDS)
    next(rngs)  # the directions of genres and themes
    uniforms = next(rngs).random((titles, _UNIFORMS))
    # Each noun of a plot draws its own theme, not only the listed ones, so that a plot carries more than its labels.
    fit = _PLOT_FIRMNESS * affinities(catalogue.tastes, catalogue.theme_tastes)
    noise = next(rngs).gumbel(size=(titles, NOUNS_PER_PLOT, len(THEMES)))
    plot_themes = np.argmax(fit[:, None, :] + noise, axis=2).tolist()
    has_plot = (next(rngs).random(titles) >= simulate.missing_plot_share).tolist()
    poster_is_there = has_poster(seed, simulate, titles).tolist()
    coproducers = next(rngs).integers(len(COUNTRIES), size=titles).tolist()
    is_coproduction = (next(rngs).random(titles) < _COPRODUCTION_SHARE).tolist()
    show_minutes = next(rngs).integers(*_SHOW_MINUTES, size=titles)
    minutes = np.where(catalogue.is_show, show_minutes, next(rngs).integers(*_MOVIE_MINUTES, size=titles)).tolist()
    taken: set[str] = set()
    for title in range(titles):
        chooser = _Chooser(uniforms[title].tolist())
        release_date = catalogue.release_date(title, simulate.first_day)
        origin = catalogue.origins[title]
        producers = dict.fromkeys([origin, coproducers[title]] if is_coproduction[title] else [origin])
        name = _title_name(catalogue, title, chooser, taken)
        plot = _plot(catalogue.genres[title], plot_themes[title], chooser)
        row = {
            "title_id": int(catalogue.title_ids[title]),
            "title": name,
            "object_type": "show" if catalogue.is_show[title] else "movie",
            "release_year": release_date.year,
            "release_date": release_date.isoformat(),
            "runtime_minutes": minutes[title],
            "original_language": COUNTRIES[origin].language,
            "production_countries": [COUNTRIES[index].code for index in producers],
            "genres": labels_of(catalogue.genres[title], _GENRE_LIST),
            "themes": labels_of(catalogue.themes[title], _THEME_LIST),
            "cast": catalogue.cast[title],
            "directors": catalogue.directors[title],
            "plot": plot if has_plot[title] else None,
            "poster": poster_name(catalogue, title) if poster_is_there[title] else None,
        }
        yield json.dumps(row, separators=(",", ":")).encode()


def poster_name(catalogue: SimulatedCatalogue, title: int) -> str:
    """File name of the poster in the titles feed."""
    return f"{catalogue.title_ids[title]}.jpg"


def has_poster(seed: int, simulate: Simulate, count: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Flags [count] of the titles that have a poster."""
    return next(streams(seed, Purpose.POSTERS)).random(count) >= simulate.missing_poster_share


def _title_name(catalogue: SimulatedCatalogue, title: int, chooser: _Chooser, taken: set[str]) -> str:
    """A film-like name that no earlier title has."""
    genre = GENRES[_GENRE_LIST[catalogue.genres[title][0]]]
    first, second = (THEMES[_THEME_LIST[theme]] for theme in catalogue.themes[title][:2])
    words = {
        "adjective": chooser.one_of(genre.adjectives),
        "role": chooser.one_of(genre.roles),
        "noun": chooser.one_of(first.nouns),
        "other": chooser.one_of(second.nouns),
    }
    start = TITLE_PATTERNS.index(chooser.one_of(TITLE_PATTERNS))
    patterns = TITLE_PATTERNS[start:] + TITLE_PATTERNS[:start]
    names = [_headline(pattern.format(**words)) for pattern in patterns]
    sequels = (f"{names[0]} {number}" for number in count(2))
    name = next(name for name in chain(names, sequels) if name not in taken)
    taken.add(name)
    return name


def _headline(text: str) -> str:
    first, *rest = text.split()
    return " ".join([capwords(first), *(word if word in _SMALL_WORDS else capwords(word) for word in rest)])


def _plot(genres: Sequence[int], themes: Sequence[int], chooser: _Chooser) -> str:
    """Three sentences whose words come from the title's genres and from the drawn `themes`."""
    nouns = [chooser.one_of(THEMES[_THEME_LIST[theme]].nouns) for theme in themes]
    sentences = []
    for templates in (OPENINGS, TURNS, ENDINGS):
        genre = GENRES[chooser.one_of([_GENRE_LIST[genre] for genre in genres])]
        sentences.append(
            chooser.one_of(templates).format(
                *nouns,
                adjective=chooser.one_of(genre.adjectives),
                role=chooser.one_of(genre.roles),
                place=chooser.one_of(genre.places),
            )
        )
    return " ".join(sentences)
