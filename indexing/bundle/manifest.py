"""`manifest.json` of a bundle, typed. A reader refuses a schema that it does not know."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
EMBEDDING_START = 2  # dimension of a vector where the embedding begins, after popularity and freshness

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

    value: str  # description of the number
    mean: float
    std: Annotated[float, Field(ge=0)]  # 0: all titles have the same value, and the coordinate is 0
    scale: Annotated[float, Field(gt=0)]


class Vectors(_Part):
    """A vector is [scale · popularity, scale · freshness, embedding]; see indexing/bundle/coordinates.py.

    Popularity and freshness are standardised over the candidates. Title embeddings and the query tower's are balanced.
    """

    embedding_dim: Positive
    popularity: Coordinate
    freshness: Coordinate
    freshness_decay_days: Annotated[float, Field(gt=0)]  # freshness is exp(-age / decay), 1 before release

    @property
    def vector_dim(self) -> int:
        return EMBEDDING_START + self.embedding_dim


class Dial(_Part):
    """Score is query · embedding + dial · standardised popularity: above 0 well-known titles, below 0 hidden gems.

    In units of the model's scores; a reader clips to the range.
    """

    minimum: float
    maximum: float
    settings: Mapping[str, float]  # popular, balanced, discover, gems
    source: str  # how the settings were chosen

    @model_validator(mode="after")
    def _settings_lie_within(self) -> "Dial":
        outside = [name for name, value in self.settings.items() if not self.minimum <= value <= self.maximum]
        if outside:
            raise ValueError(f"settings {outside} lie outside of {self.minimum} to {self.maximum}")
        return self


class IndexParameters(_Part):
    """Parameters that both searchers were compiled with."""

    kind: Literal["brute_force", "hashed", "tree"]
    leaves: Count  # of the tree; 0 without one
    leading_dims: Count  # dimensions of the vectors that the tree and hashing use; 0: all of them
    dims_per_block: Count  # of hashing; 0 without it
    anisotropic_threshold: float | None
    soar_lambda: float | None  # of the pybind form: TensorFlow's ops have no SOAR


class Recall(_Part):
    """Mean recall over queries, against exact search of the same vectors."""

    at_10: Share
    at_100: Share


class Form(_Part):
    """One of the two serialised searchers, measured from the files of the bundle, one query at a time."""

    leaves_to_search: Count  # 0: no tree
    reorder: Count  # candidates scored exactly after the search, for lists of up to 100; 0: all are scored exactly
    recall: Mapping[str, Recall]  # by setting of the dial
    p50_ms: Seconds
    p99_ms: Seconds
    build_seconds: Seconds


class Forms(_Part):
    pybind: Form
    tensorflow: Form
    min_overlap: Share  # of their top 20, at the worst setting of the dial
    queries: Positive  # number of queries behind recall
    queries_source: str


class Parity(_Part):
    """Agreement of the exported towers and the index with the training graph, over golden users."""

    max_score_difference: Annotated[float, Field(ge=0)]  # in standard deviations of a user's scores
    min_top_20_overlap: Share  # means over users, at the worst form and setting of the dial


class Tolerance(_Part):
    """Allowed difference from the training graph, in the units of Parity."""

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
    delta_versions: Mapping[str, int]  # of the tables that the build read
    git_commit: str  # ends in -dirty where files differed from it; "unknown" outside a checkout
    settings: Mapping[str, object]  # section `index` of the settings at the build
    seed: int
    counts: Counts
    history_length: Positive  # most titles of a history that the query tower takes
    vectors: Vectors
    dial: Dial
    index: IndexParameters
    forms: Forms
    parity: Parity
    tolerance: Tolerance
    files: Mapping[str, FileEntry]  # by path in the bundle
