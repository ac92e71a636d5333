"""All sections as one object, and the rules that hold between sections."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from conf.settings.airflow import Airflow, Spark
from conf.settings.baselines import Baselines
from conf.settings.content import ContentBlocks
from conf.settings.evaluation import Evaluation, Report
from conf.settings.features import Examples, Histories, MinCounts, TitleFeatures
from conf.settings.gating import Gate
from conf.settings.indexing import Dial, Index
from conf.settings.lake import Backfill, Bundles, Feeds, Lake, Maintain, Mlflow
from conf.settings.model import Model
from conf.settings.section import Section
from conf.settings.serving import Serving
from conf.settings.simulation import Simulate
from conf.settings.staging import Interactions, Staging
from conf.settings.training import PositionBias, Training


class Settings(Section):
    """All settings; a section per area."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="seed of all random draws")
    lake: Lake
    feeds: Feeds
    bundles: Bundles
    mlflow: Mlflow
    airflow: Airflow
    spark: Spark
    staging: Staging
    interactions: Interactions
    position_bias: PositionBias
    histories: Histories
    vocabulary_min_counts: MinCounts
    title_features: TitleFeatures
    examples: Examples
    content: ContentBlocks
    baselines: Baselines
    model: Model
    training: Training
    evaluation: Evaluation
    gate: Gate
    report: Report
    dial: Dial
    index: Index
    serving: Serving
    backfill: Backfill
    maintain: Maintain
    simulate: Simulate

    @model_validator(mode="after")
    def _sections_agree(self) -> "Settings":
        longest = max(self.examples.history_titles, self.examples.user_history_titles)
        if longest > self.histories.max_titles:
            raise ValueError(
                f"examples: histories of {longest} titles are longer than histories.max_titles "
                f"{self.histories.max_titles}"
            )
        if outside := [value for value in self.dial.values if abs(value) > self.index.dial_reach]:
            raise ValueError(f"dial.values {outside} lie beyond index.dial_reach {self.index.dial_reach}")
        if self.interactions.rating_neutral >= self.staging.max_rating:
            raise ValueError(f"interactions.rating_neutral must be below staging.max_rating {self.staging.max_rating}")
        return self


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
