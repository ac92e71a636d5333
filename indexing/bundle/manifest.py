"""What a bundle says of itself: `manifest.json`, typed. A reader refuses a schema that it does not know."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSource(_Part):
    """The registered model that the bundle was built from."""

    name: str
    version: Count
    run_id: str | None  # of MLflow; None where the version was registered by hand
    delta_versions: Mapping[str, int]  # of the tables it was trained on


class Counts(_Part):
    titles: Count  # rows: candidates first, then titles that left the guide and only stand in histories
    candidates: Positive
    offers: Count  # of candidates
    countries: Count
    golden_users: Count


class Coordinate(_Part):
    """A number per title beside its embedding: stored as `scale` · (value - mean) / std, over the candidates."""

    value: str  # what is counted, in words
    mean: float
    std: Annotated[float, Field(ge=0)]  # at 0 all titles are alike, and the coordinate is 0
    scale: Annotated[float, Field(gt=0)]


class Vectors(_Part):
    """A vector is [scale · popularity, scale · freshness, embedding]; see indexing/bundle/coordinates.py.

    Both are standardised over the candidates. The embedding is the model's, balanced, as what the query tower gives is.
    """

    embedding_dim: Positive
    popularity: Coordinate
    freshness: Coordinate
    freshness_decay_days: Annotated[float, Field(gt=0)]  # freshness is exp(-age / decay), 1 for what is not yet out

    @property
    def width(self) -> int:
        return self.embedding_dim + 2  # popularity and freshness


class Dial(_Part):
    """Score is query · embedding + dial · standardised popularity: above 0 well-known titles, below 0 hidden gems.

    In units of the model's scores; a reader clips to the range.
    """

    minimum: float
    maximum: float
    settings: Mapping[str, float]  # popular, balanced, discover, gems
    source: str  # how the values of the settings were chosen

    @model_validator(mode="after")
    def _settings_lie_within(self) -> "Dial":
        outside = [name for name, value in self.settings.items() if not self.minimum <= value <= self.maximum]
        if outside:
            raise ValueError(f"settings {outside} lie outside of {self.minimum} to {self.maximum}")
        return self


class IndexParameters(_Part):
    """What both forms were compiled with."""

    kind: Literal["brute_force", "hashed", "tree"]
    leaves: Count  # of the tree; 0 without one
    leading_dims: Count  # of the vectors, which the tree and hashing look at; 0: all of them
    dims_per_block: Count  # of hashing; 0 without it
    anisotropic_threshold: float | None
    soar_lambda: float | None  # of the pybind form: TensorFlow's ops have no SOAR


class Recall(_Part):
    """Against exact search of the same vectors, means over queries."""

    at_10: Share
    at_100: Share


class Form(_Part):
    """One of the two serialised searchers, as it was measured from the files of the bundle, one query at a time."""

    leaves_to_search: Count  # 0: no tree
    reorder: Count  # candidates scored again exactly, for lists of up to 100; 0: all are scored exactly
    recall: Mapping[str, Recall]  # by setting of the dial
    p50_ms: Seconds
    p99_ms: Seconds
    build_seconds: Seconds


class Forms(_Part):
    pybind: Form
    tensorflow: Form
    min_overlap: Share  # of their top 20, at the worst setting of the dial
    queries: Positive  # by which recall was measured
    queries_source: str


class Parity(_Part):
    """Golden users through the training graph, the exported tower and the index."""

    max_score_difference: Annotated[float, Field(ge=0)]  # in standard deviations of a user's scores
    min_top_20_overlap: Share  # means over users, at the worst form and setting of the dial


class Tolerance(_Part):
    """By how much answers may differ from those of the training graph, in the units of Parity."""

    max_score_difference: Annotated[float, Field(gt=0)]
    min_overlap: Share


class FileEntry(_Part):
    sha256: Sha256
    bytes: Count


class Manifest(_Part):
    """One per bundle; `files` names every file but the manifest and its own checksum."""

    schema_version: Literal[1]
    bundle_version: str
    created_at: datetime
    as_of: date  # the day from which ages of titles count
    model: ModelSource
    delta_versions: Mapping[str, int]  # of the tables that were read for the bundle
    git_commit: str  # ends in -dirty where files differed from it; "unknown" outside of a checkout
    settings: Mapping[str, object]  # the section `index` that it was built with
    seed: int
    counts: Counts
    history_length: Positive  # the most titles that a query is made of
    vectors: Vectors
    dial: Dial
    index: IndexParameters
    forms: Forms
    parity: Parity
    tolerance: Tolerance
    files: Mapping[str, FileEntry]  # by path in the bundle
