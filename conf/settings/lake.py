"""Where things lie, and how the lake is written and kept: lake, feeds, bundles, mlflow, backfill, maintain."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Location, Positive, Section


class Lake(Section):
    root: Location = Field(description="folder or URI of the Delta tables, each in a folder of its name")


class Feeds(Section):
    root: Location = Field(description="folder or URI of the raw feeds")
    posters_dir: Location = Field(description="folder or URI of the poster images that titles name")


class Bundles(Section):
    root: Location = Field(description="folder or URI of the bundles and of the pointer to the live one")
    copies: Location = Field(description="local folder for copies of bundles whose root is not a local folder")


class Mlflow(Section):
    tracking_uri: str = Field(description="MLflow's tracking server or database")
    artifacts_root: Location | None = Field(
        description="folder or URI of the files that runs log; null lets a tracking server decide"
    )


class Backfill(Section):
    max_chunk_bytes: Positive = Field(description="most feed bytes, as stored, that one Spark run of a backfill takes")
    max_chunk_days: Positive = Field(description="most feed days that one Spark run of a backfill takes")


class Maintain(Section):
    retention_hours: Annotated[int, Field(ge=0)] = Field(
        description="hours for which files that no snapshot needs are kept"
    )
