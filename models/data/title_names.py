"""Titles by name, as a person types them."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.errors import ModelError

_WITH_YEAR = re.compile(r"(.*\S)\s*\((\d{4})\)")
_ARTICLE_LAST = re.compile(r"(.*\S), (the|a|an|le|la|les|l'|il|lo|gli|der|die|das|el|los|las)")
_NEAR = 5


@dataclass(frozen=True)
class Match:
    """The title that was meant; `note` says what else it could have been, empty where nothing."""

    position: int
    note: str = ""


@dataclass(frozen=True)
class TitleNames:
    """Names of a catalogue's titles, in its order; None for one that stg_titles lacks."""

    names: Sequence[str | None]
    years: Sequence[int | None]
    counts: NDArray[np.int64]  # [titles], how many users liked each: of several titles the most liked is meant

    def label(self, position: int) -> str:
        """As it is shown: Heat (1995)."""
        name, year = self.names[position], self.years[position]
        return f"{name or f'title without a name, place {position}'}{f' ({year})' if year else ''}"

    def find(self, wanted: str) -> Match:
        """The title of that name, upper and lower case alike: one that is called so, else one whose name begins so.

        `Heat (1995)` means one of that year; `The Matrix` and `Matrix, The` are one name. Of several the one that most
        users liked is taken. Raises ModelError for a name that no title has, with names that are near.
        """
        name, year = _parsed(wanted)
        for is_it, how in ((_is_equal, "called so"), (_begins, "whose name begins so")):
            for text, limit in ((wanted.strip().casefold(), None), (name, year)):
                found = [
                    n
                    for n, own in enumerate(self.names)
                    if any(is_it(form, text) for form in _forms(own)) and limit in (None, self.years[n])
                ]
                if found:
                    return self._most_liked(found, wanted, how)
        raise ModelError(f"no title is called {wanted!r}{self._near(name)}")

    def _most_liked(self, found: Sequence[int], wanted: str, how: str) -> Match:
        best = max(found, key=lambda n: (self.counts[n], -n))
        if len(found) == 1:
            is_exact = how == "called so"
            return Match(best, "" if is_exact else f"{wanted!r}: {self.label(best)} is the only title {how}")
        others = sorted((n for n in found if n != best), key=lambda n: -self.counts[n])[:_NEAR]
        more = f" and {len(found) - 1 - len(others)} more" if len(found) - 1 > len(others) else ""
        listed = ", ".join(self.label(n) for n in others)
        return Match(
            best,
            f"{wanted!r}: of {len(found)} titles {how} {self.label(best)} is liked most; {listed}{more} are others",
        )

    def _near(self, name: str) -> str:
        known = {form: n for n, own in enumerate(self.names) for form in _forms(own)}
        inside = [text for text in known if name in text]
        inside.sort(key=lambda text: -self.counts[known[text]])
        alike = difflib.get_close_matches(name, known, _NEAR, 0.6)
        near = list(dict.fromkeys(known[text] for text in [*inside, *alike]))[:_NEAR]
        return f"; near are {', '.join(self.label(n) for n in near)}" if near else ""


def read_names(snapshot: LakeSnapshot, catalogue: Catalogue, counts: NDArray[np.int64]) -> TitleNames:
    """Names from stg_titles."""
    columns = ("title_id", "title", "release_year", "release_date")
    rows = snapshot.read("stg_titles", columns).to_pylist()
    named: Mapping[int, dict[str, Any]] = {row["title_id"]: row for row in rows}
    own = [named.get(title, {}) for title in catalogue.title_ids.tolist()]
    years = [row.get("release_year") or getattr(row.get("release_date"), "year", None) for row in own]
    return TitleNames([row.get("title") for row in own], years, counts)


def _forms(name: str | None) -> list[str]:
    """How a name may be typed: `Matrix, The` as `the matrix` too."""
    if name is None:
        return []
    own = name.casefold()
    found = _ARTICLE_LAST.fullmatch(own)
    return [own, f"{found[2]}{'' if found[2].endswith(chr(39)) else ' '}{found[1]}"] if found else [own]


def _parsed(wanted: str) -> tuple[str, int | None]:
    found = _WITH_YEAR.fullmatch(wanted.strip())
    return (found[1].casefold(), int(found[2])) if found else (wanted.strip().casefold(), None)


def _is_equal(own: str, wanted: str) -> bool:
    return own == wanted


def _begins(own: str, wanted: str) -> bool:
    return own.startswith(wanted)
