"""Names of a catalogue's titles, read from the lake."""

from collections.abc import Mapping
from typing import Any

from lake.arrays import Ids
from lake.snapshot import LakeSnapshot
from lake.title_names import TitleNames
from models.data.catalogue import Catalogue


def read_names(snapshot: LakeSnapshot, catalogue: Catalogue, counts: Ids) -> TitleNames:
    """Names from stg_titles; `counts` [titles] are the positives of each title."""
    columns = ("title_id", "title", "release_year", "release_date")
    rows = snapshot.read("stg_titles", columns).to_pylist()
    row_by_id: Mapping[int, dict[str, Any]] = {row["title_id"]: row for row in rows}
    titles = [row_by_id.get(title_id, {}) for title_id in catalogue.title_ids.tolist()]
    years = [title.get("release_year") or getattr(title.get("release_date"), "year", None) for title in titles]
    return TitleNames([title.get("title") for title in titles], years, counts)
