"""Which candidates are on offer where: exact, by country and provider."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Rows = NDArray[np.int64]
_NOTHING = np.empty(0, dtype=np.int64)


class Availability:
    """A title is available in a country where at least one of the providers asked for offers it, in any way."""

    def __init__(self, offers: pa.Table, cached_filters: int) -> None:
        """`offers` is a bundle's OFFERS_SCHEMA; the newest `cached_filters` answers are kept."""
        countries, self._country_places = _codes(offers["country"])
        providers, self._provider_places = _codes(offers["provider_id"])
        self._count_providers = max(len(self._provider_places), 1)
        rows = offers["row"].to_numpy().astype(np.int64)
        pairs = countries * self._count_providers + providers
        order = np.lexsort((rows, pairs))
        rows, pairs = rows[order], pairs[order]
        # Rent and buy from one provider are one offer here.
        is_first = np.append(True, (np.diff(rows) != 0) | (np.diff(pairs) != 0))[: len(rows)]
        self._rows, self._pairs = rows[is_first], pairs[is_first]
        self._find_cached = lru_cache(cached_filters)(self._find)

    @property
    def countries(self) -> frozenset[str]:
        """Those with an offer."""
        return frozenset(self._country_places)

    def rows(self, country: str, providers: Iterable[str] | None = None) -> Rows:
        """Rows of the candidates on offer in a country by at least one of `providers`, or by any; in order."""
        return self._find_cached(country, None if providers is None else frozenset(providers))

    def _find(self, country: str, providers: frozenset[str] | None) -> Rows:
        if country not in self._country_places:
            return _NOTHING
        first = self._country_places[country] * self._count_providers
        if providers is None:
            wanted = [(first, first + self._count_providers)]
        else:
            places = [self._provider_places[name] for name in providers if name in self._provider_places]
            wanted = [(first + place, first + place + 1) for place in places]
        parts = [self._rows[slice(*np.searchsorted(self._pairs, bounds))] for bounds in wanted]
        found = np.unique(np.concatenate([_NOTHING, *parts]))
        found.flags.writeable = False  # it is kept, and given to everybody who asks
        return found


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], dict[str, int]]:
    """[rows]: a number per row, and the number of each text."""
    texts = column.combine_chunks()
    encoded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    places = {text: place for place, text in enumerate(encoded.dictionary.to_pylist())}
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), places
