"""Search for a title of the catalogue by its name as typed."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conf.errors import ActionableError
from lake.arrays import Ids

_WITH_YEAR = re.compile(r"(.*\S)\s*\((\d{4})\)")
_ARTICLE_LAST = re.compile(r"(.*\S), (the|a|an|le|la|les|l'|il|lo|gli|der|die|das|el|los|las)")
_MAX_LISTED = 5  # titles that a message lists
_MIN_SIMILARITY = 0.6  # of a name that is listed as similar, by difflib
_EXACT, _BEGINNING = "with this name", "whose name begins so"
_COMPARISONS: tuple[tuple[Callable[[str, str], bool], str], ...] = ((str.__eq__, _EXACT), (str.startswith, _BEGINNING))


class UnknownTitleError(ActionableError):
    """No title has the name; the message lists similar names."""


@dataclass(frozen=True)
class Match:
    """The row of the chosen title; `note` lists other matches, empty where there are none."""

    row: int
    note: str = ""


@dataclass(frozen=True)
class TitleNames:
    """Names of a catalogue's titles, in its order; None for a title without a name."""

    names: Sequence[str | None]
    years: Sequence[int | None]
    counts: Ids  # [titles], positives of each: of several matches the most liked is chosen

    def label(self, row: int) -> str:
        """The name as it is shown: Heat (1995)."""
        name, year = self.names[row], self.years[row]
        return f"{name or f'title without a name, row {row}'}{f' ({year})' if year else ''}"

    def find(self, text: str) -> Match:
        """The title whose name is `text`, ignoring case; if there is none, one whose name begins with it.

        `Heat (1995)` means one of that year; `The Matrix` and `Matrix, The` are one name. Of several matches the most
        liked is chosen. Raises UnknownTitleError where no name matches, listing similar names.
        """
        whole = text.strip().casefold()
        name, year = _split_year(whole)
        for matches, how in _COMPARISONS:
            for wanted_name, wanted_year in ((whole, None), (name, year)):
                rows = [
                    row
                    for row, title_name in enumerate(self.names)
                    if any(matches(form, wanted_name) for form in _forms(title_name))
                    and wanted_year in (None, self.years[row])
                ]
                if rows:
                    return self._most_liked(rows, text, how)
        raise UnknownTitleError(f"no title is called {text!r}{self._similar(name)}")

    def _most_liked(self, rows: Sequence[int], text: str, how: str) -> Match:
        best = max(rows, key=lambda row: (self.counts[row], -row))
        if len(rows) == 1:
            return Match(best, "" if how == _EXACT else f"{text!r}: chose {self.label(best)}, the only title {how}")
        rest = sorted((row for row in rows if row != best), key=lambda row: -self.counts[row])
        listed = ", ".join(self.label(row) for row in rest[:_MAX_LISTED])
        more = f" and {len(rest) - _MAX_LISTED} more" if len(rest) > _MAX_LISTED else ""
        return Match(
            best,
            f"{text!r}: chose {self.label(best)}, the most liked of {len(rows)} titles {how}; "
            f"the others: {listed}{more}",
        )

    def _similar(self, name: str) -> str:
        row_of_form = {form: row for row, title_name in enumerate(self.names) for form in _forms(title_name)}
        containing = [form for form in row_of_form if name in form]
        containing.sort(key=lambda form: -self.counts[row_of_form[form]])
        similar = difflib.get_close_matches(name, row_of_form, _MAX_LISTED, _MIN_SIMILARITY)
        rows = list(dict.fromkeys(row_of_form[form] for form in [*containing, *similar]))[:_MAX_LISTED]
        return f"; similar names: {', '.join(self.label(row) for row in rows)}" if rows else ""


def _forms(name: str | None) -> list[str]:
    """The ways a name may be typed, casefolded: `Matrix, The` as `the matrix` too."""
    if name is None:
        return []
    folded = name.casefold()
    match = _ARTICLE_LAST.fullmatch(folded)
    if not match:
        return [folded]
    title, article = match[1], match[2]
    return [folded, f"{article}{'' if article.endswith(chr(39)) else ' '}{title}"]


def _split_year(text: str) -> tuple[str, int | None]:
    match = _WITH_YEAR.fullmatch(text)
    return (match[1], int(match[2])) if match else (text, None)
