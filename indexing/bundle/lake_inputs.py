"""Inputs of a bundle besides the model, read from pinned versions of the lake's tables.

Titles are in the bundle's order: first those that the guide lists, which may be recommended, then those that left it,
which stand in histories only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet as pq

from indexing.bundle.bundle_files import OFFERS, OFFERS_SCHEMA
from indexing.errors import BundleError
from lake.arrays import Ids
from lake.snapshot import LakeSnapshot
from lake.vocabulary_ids import FIRST_ID
from models.data.catalogue import Catalogue, read_catalogue, read_token_names

TABLES = ("title_features", "vocabularies", "stg_titles", "stg_offers", "user_histories")

# The column of title_features that a bundle's popularity counts.
POPULARITY_COUNT = "count_positives_ever"
_LISTS = {"genres": ("genre_ids", "genre"), "themes": ("theme_ids", "theme")}
_LISTS |= {"cast": ("cast_ids", "person"), "directors": ("director_ids", "person")}


@dataclass(frozen=True)
class LakeInputs:
    """Rows of `catalogue`, `facts` and `positive_counts` are those of the bundle."""

    catalogue: Catalogue
    count_candidates: int
    facts: pa.Table  # title, object_type, release_date, release_year and the names in _LISTS
    positive_counts: Ids  # [titles]
    offers: pa.Table  # OFFERS_SCHEMA, of candidates
    country_codes: Sequence[str]  # of the vocabulary
    newest_day: date  # on which a title's features last changed

    def write_offers(self, folder: Path) -> None:
        pq.write_table(self.offers, folder / OFFERS)


def read(snapshot: LakeSnapshot, blocks: Mapping[str, float]) -> LakeInputs:
    """Read everything but histories; `blocks` of content as `read_catalogue` takes them.

    Raises BundleError where no title is listed.
    """
    as_stored = read_catalogue(snapshot, blocks)
    order = np.argsort(~as_stored.is_listed, kind="stable")
    catalogue = as_stored.take(order)
    count_candidates = int(catalogue.is_listed.sum())
    if not count_candidates:
        raise BundleError(
            f"title_features version {snapshot.version('title_features')}: none of its {len(order)} titles is listed"
        )
    columns = ["title_id", POPULARITY_COUNT, "updated_ds", "release_date", "release_year"]
    columns += [ids for ids, _ in _LISTS.values()]
    features = snapshot.read("title_features", columns)
    features = features.take(_rows(features["title_id"].to_numpy(), catalogue.title_ids))
    return LakeInputs(
        catalogue=catalogue,
        count_candidates=count_candidates,
        facts=_facts(snapshot, features, catalogue),
        positive_counts=features[POPULARITY_COUNT].to_numpy(),
        offers=_offers(snapshot, catalogue, count_candidates),
        country_codes=read_token_names(snapshot, "country"),
        newest_day=pc.max(features["updated_ds"]).as_py(),
    )


def _rows(title_ids: Ids, requested: Ids) -> Ids:
    """Row in `title_ids` of each of `requested`, all of which it holds."""
    order = np.argsort(title_ids, kind="stable")
    return order[np.searchsorted(title_ids, requested, sorter=order)]


def _facts(snapshot: LakeSnapshot, features: pa.Table, catalogue: Catalogue) -> pa.Table:
    staged = snapshot.read("stg_titles", ("title_id", "title"))
    ids = pa.array(catalogue.title_ids)
    staged_rows = pc.index_in(ids, value_set=staged["title_id"].combine_chunks())
    titles = staged["title"].take(staged_rows)
    columns = {
        # A title that stg_titles lost since its features were made is named by its id.
        "title": pc.coalesce(titles, pc.cast(ids, pa.string())),
        "object_type": pa.array(catalogue.object_types, pa.string()),
        "release_date": features["release_date"],
        "release_year": features["release_year"],
    }
    kinds = {kind: read_token_names(snapshot, kind) for kind in ("genre", "theme", "person")}
    for name, (column, kind) in _LISTS.items():
        columns[name] = _names(features[column].combine_chunks(), kinds[kind])
    return pa.table(columns)


def _names(ids: pa.ListArray, tokens: Sequence[str]) -> pa.Array:
    """Lists of names for lists of ids; padding and unknown ids are left out."""
    values = ids.flatten().to_numpy()
    rows = values - FIRST_ID
    is_known = (rows >= 0) & (rows < len(tokens))
    before = np.concatenate([[0], np.cumsum(is_known)])
    # Offsets of a slice do not begin at 0, but `flatten` does.
    offsets = ids.offsets.to_numpy() - ids.offsets[0].as_py()
    names = pa.array(tokens, pa.string()).take(pa.array(rows[is_known]))
    return pa.ListArray.from_arrays(pa.array(before[offsets], pa.int32()), names)


def _offers(snapshot: LakeSnapshot, catalogue: Catalogue, count_candidates: int) -> pa.Table:
    columns = ("title_id", "country", "provider_id", "monetization_type")
    offers = snapshot.read("stg_offers", columns)
    rows = catalogue.rows(offers["title_id"].to_numpy())
    is_candidate = (rows >= 0) & (rows < count_candidates)
    kept = offers.filter(pa.array(is_candidate)).drop_columns("title_id")
    kept = kept.add_column(0, "row", pa.array(rows[is_candidate], pa.int32()))
    return kept.sort_by([(name, "ascending") for name in OFFERS_SCHEMA.names]).cast(OFFERS_SCHEMA)
