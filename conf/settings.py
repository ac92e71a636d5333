"""Every value a run depends on, as one frozen, typed object.

`conf/local.yaml` holds all of it. Any other file given by `--conf` holds overrides only and is laid over it, and
`--set key.path=value` is laid over both. Keys carry their units.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


def _absolute(location: str) -> str:
    """A folder or URI as jobs on any working directory understand it: relative paths are from here."""
    return location if urlsplit(location).scheme else str(Path(location).absolute())


Location = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
# Nothing ships the settings to workers: transforms get plain values, so that this need not be picklable.
SparkConf = Annotated[Mapping[str, str], AfterValidator(lambda conf: MappingProxyType(dict(conf)))]


class Section(BaseModel):
    """Unknown keys are refused, nothing is coerced, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Lake(Section):
    root: Location  # tables lie at <root>/<table>
    write_attempts: Positive  # how often a write is tried while another writer changes the same table


class Feeds(Section):
    root: Location
    posters_dir: Location


class Bundles(Section):
    root: Location


class Mlflow(Section):
    tracking_uri: str


class Airflow(Section):
    database_uri: str


class Spark(Section):
    master: str
    conf: SparkConf  # further Spark settings; conf/spark-defaults.conf holds those of every environment


class Staging(Section):
    max_rejected_share: Share  # of a feed day's lines; duplicates do not count
    max_removed_share: Share  # of a snapshot table's rows that one new snapshot may take away
    max_line_bytes: Positive
    min_event_date: date
    max_days_ahead: Annotated[int, Field(ge=0)]  # how far an event's UTC day may lie after its feed day
    copy_window_days: Annotated[int, Field(ge=0)]  # how far from its feed day copies of an event are looked for
    min_rating: float
    max_rating: float

    @model_validator(mode="after")
    def _ratings_are_a_range(self) -> "Staging":
        if self.min_rating >= self.max_rating:
            raise ValueError(f"min_rating {self.min_rating} must be below max_rating {self.max_rating}")
        return self


class Backfill(Section):
    max_chunk_bytes: Positive  # feed bytes, as stored, that one Spark run takes at most
    max_chunk_days: Positive


class Maintain(Section):
    retention_hours: Annotated[int, Field(ge=0)]  # files no snapshot needs are kept this long


class Simulate(Section):
    first_day: date
    days: Positive
    users: Positive  # on the first day
    new_users_per_day: Annotated[float, Field(ge=0)]
    titles: Positive  # in the catalogue on the first day, those announced but not yet released among them
    releases_per_day: Annotated[float, Field(ge=0)]
    announced_days_ahead: Annotated[int, Field(ge=0)]  # a title enters the catalogue this long before its release
    gem_share: Share
    taste_dims: Annotated[int, Field(ge=2)]
    sessions_per_user_day: Annotated[float, Field(gt=0)]
    impressions_per_session: Positive
    popularity_feedback: Annotated[float, Field(ge=0)]  # exponent on past clicks in what the old recommender shows
    explore_share: Share  # of sessions that see titles in random order, for propensities
    late_share: Share
    max_days_late: Positive
    duplicated_share: Share
    malformed_share: Share
    missing_plot_share: Share
    missing_poster_share: Share
    events_per_file: Positive


class Settings(Section):
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    lake: Lake
    feeds: Feeds
    bundles: Bundles
    mlflow: Mlflow
    airflow: Airflow
    spark: Spark
    staging: Staging
    backfill: Backfill
    maintain: Maintain
    simulate: Simulate


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A validated copy with dotted keys changed, for tests and experiments."""
    values = settings.model_dump(warnings=False)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return Settings.model_validate(values)
