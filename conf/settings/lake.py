"""Locations, and upkeep of the lake: lake, feeds, bundles, mlflow, backfill, maintain."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Location, Positive, Section


class Lake(Section):
    root: Location = Field(description="folder or URI of the Delta tables, one folder per table")


class Feeds(Section):
    root: Location = Field(description="folder or URI of the raw feeds")
    posters_dir: Location = Field(description="folder or URI of the poster images named in the titles feed")


class Bundles(Section):
    root: Location = Field(description="folder or URI of the bundles, with the pointer to the live one")
    copies: Location = Field(description="local cache folder for bundles, used where bundles.root is on object storage")


class Mlflow(Section):
    tracking_uri: str = Field(description="MLflow's tracking server or database")
    artifacts_root: Location | None = Field(
        description="folder or URI of the files logged by runs; null leaves the choice to the tracking server"
    )


class Backfill(Section):
    max_chunk_bytes: Positive = Field(
        description="largest size of the feed files of one Spark run of a backfill, compressed as they are stored"
    )
    max_chunk_days: Positive = Field(description="largest number of feed days of one Spark run of a backfill")


class Maintain(Section):
    retention_hours: Annotated[int, Field(ge=0)] = Field(
        description="hours before files that no snapshot needs are deleted"
    )
