"""Where things lie, and how the lake is written and kept: lake, feeds, bundles, mlflow, backfill, maintain."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Location, Positive, Section


class Lake(Section):
    root: Location  # tables lie at <root>/<table>


class Feeds(Section):
    root: Location
    posters_dir: Location


class Bundles(Section):
    root: Location
    copies: Location  # a folder of this machine, for bundles of a root that is none


class Mlflow(Section):
    tracking_uri: str
    artifacts_root: Location | None  # what runs log as files; None lets a tracking server decide


class Backfill(Section):
    max_chunk_bytes: Positive  # feed bytes, as stored, that one Spark run takes at most
    max_chunk_days: Positive


class Maintain(Section):
    retention_hours: Annotated[int, Field(ge=0)]  # files no snapshot needs are kept this long
