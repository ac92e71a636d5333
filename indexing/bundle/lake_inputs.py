"""What a bundle is made of besides the model, read from pinned versions of the lake's tables.

Titles stand in the order of the bundle: those that the guide lists first, which may be recommended, then those that
left it, which stand in histories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute as pc

from indexing.bundle.bundle import OFFERS_SCHEMA
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
    """Rows of `catalogue`, `about` and `counts` are those of the bundle."""

    catalogue: Catalogue
    count_candidates: int
    about: pa.Table  # title, object_type, release_date, release_year and the names in _LISTS
    counts: NDArray[np.int64]  # [titles], positives
    offers: pa.Table  # OFFERS_SCHEMA, of candidates
    country_codes: Sequence[str]  # of the vocabulary
    newest_day: date  # on which a title's features last changed


def read(snapshot: LakeSnapshot, blocks: Mapping[str, float]) -> LakeInputs:
    """All but the histories. `blocks` of content are those that the model needs; see `read_catalogue`.

    Raises BundleError where no title is listed.
    """
    as_learnt = read_catalogue(snapshot, blocks)
    order = np.argsort(~as_learnt.is_listed, kind="stable")
    catalogue = as_learnt.take(order)
    count_candidates = int(catalogue.is_listed.sum())
    if not count_candidates:
        raise BundleError(
            f"title_features version {snapshot.version('title_features')}: none of its {len(order)} titles is listed"
        )
    columns = ["title_id", POPULARITY_COUNT, "updated_ds", "release_date", "release_year"]
    columns += [ids for ids, _ in _LISTS.values()]
    features = snapshot.read("title_features", columns)
    own = features.take(_places(features["title_id"].to_numpy(), catalogue.title_ids))
    return LakeInputs(
        catalogue=catalogue,
        count_candidates=count_candidates,
        about=_about(snapshot, own, catalogue),
        counts=own[POPULARITY_COUNT].to_numpy(),
        offers=_offers(snapshot, catalogue, count_candidates),
        country_codes=read_token_names(snapshot, "country"),
        newest_day=pc.max(own["updated_ds"]).as_py(),
    )


def _places(title_ids: Ids, wanted: Ids) -> Ids:
    """Where each of `wanted` stands in `title_ids`, which has them all."""
    order = np.argsort(title_ids, kind="stable")
    return order[np.searchsorted(title_ids, wanted, sorter=order)]


def _about(snapshot: LakeSnapshot, features: pa.Table, catalogue: Catalogue) -> pa.Table:
    staged = snapshot.read("stg_titles", ("title_id", "title"))
    ids = pa.array(catalogue.title_ids)
    named = pc.index_in(ids, value_set=staged["title_id"].combine_chunks())
    titles = staged["title"].take(named)
    columns = {
        # A title that staging lost since the features were made still has its id.
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
    """Lists of ids as lists of names, without padding and what has no name."""
    values = ids.flatten().to_numpy()
    places = values - FIRST_ID
    is_known = (places >= 0) & (places < len(tokens))
    before = np.concatenate([[0], np.cumsum(is_known)])
    # Offsets of a slice do not begin at 0, but `flatten` does.
    offsets = ids.offsets.to_numpy() - ids.offsets[0].as_py()
    names = pa.array(tokens, pa.string()).take(pa.array(places[is_known]))
    return pa.ListArray.from_arrays(pa.array(before[offsets], pa.int32()), names)


def _offers(snapshot: LakeSnapshot, catalogue: Catalogue, count_candidates: int) -> pa.Table:
    columns = ("title_id", "country", "provider_id", "monetization_type")
    offers = snapshot.read("stg_offers", columns)
    rows = catalogue.rows(offers["title_id"].to_numpy())
    is_candidate = (rows >= 0) & (rows < count_candidates)
    kept = offers.filter(pa.array(is_candidate)).drop_columns("title_id")
    kept = kept.add_column(0, "row", pa.array(rows[is_candidate], pa.int32()))
    return kept.sort_by([(name, "ascending") for name in OFFERS_SCHEMA.names]).cast(OFFERS_SCHEMA)
