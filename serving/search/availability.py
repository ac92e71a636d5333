"""Availability filter: the candidates on offer in a country, by provider. Exact, not approximate."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Rows = NDArray[np.int64]
_NO_ROWS = np.empty(0, dtype=np.int64)


class Availability:
    """A title is available in a country if at least one of the requested providers offers it there, in any way."""

    def __init__(self, offers: pa.Table, cached_filters: int) -> None:
        """`offers` is a bundle's OFFERS_SCHEMA; the rows of the last `cached_filters` filters used are cached."""
        countries, self._country_codes = _codes(offers["country"])
        providers, self._provider_codes = _codes(offers["provider_id"])
        self._count_providers = max(len(self._provider_codes), 1)
        rows = offers["row"].to_numpy().astype(np.int64)
        pairs = countries * self._count_providers + providers
        order = np.lexsort((rows, pairs))
        rows, pairs = rows[order], pairs[order]
        # Rent and buy from one provider are one offer here.
        is_first = np.append(True, (np.diff(rows) != 0) | (np.diff(pairs) != 0))[: len(rows)]
        self._rows, self._pairs = rows[is_first], pairs[is_first]
        self._lookup_cached = lru_cache(cached_filters)(self._lookup)

    @property
    def countries(self) -> frozenset[str]:
        """Countries with at least one offer."""
        return frozenset(self._country_codes)

    def rows(self, country: str, providers: Iterable[str] | None = None) -> Rows:
        """Rows of the candidates on offer in a country by at least one of `providers`, or by any; in order."""
        return self._lookup_cached(country, None if providers is None else frozenset(providers))

    def _lookup(self, country: str, providers: frozenset[str] | None) -> Rows:
        if country not in self._country_codes:
            return _NO_ROWS
        first = self._country_codes[country] * self._count_providers
        if providers is None:
            bounds = [(first, first + self._count_providers)]
        else:
            codes = [self._provider_codes[name] for name in providers if name in self._provider_codes]
            bounds = [(first + code, first + code + 1) for code in codes]
        parts = [self._rows[slice(*np.searchsorted(self._pairs, pair))] for pair in bounds]
        rows = np.unique(np.concatenate([_NO_ROWS, *parts]))
        rows.flags.writeable = False  # the cache returns the same array to every caller
        return rows


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], dict[str, int]]:
    """A code per row [rows], and the code of each text."""
    texts = column.combine_chunks()
    encoded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    codes = {text: code for code, text in enumerate(encoded.dictionary.to_pylist())}
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), codes
