"""Tables of features and training examples: histories, vocabulary_min_counts, title_features, examples."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from conf.settings.section import Count, Location, Positive, Section, Share

TextField = Literal[
    "title", "title_and_year", "plot", "genres", "themes", "cast", "starring", "directors", "directed_by"
]


class Histories(Section):
    max_titles: Positive = Field(description="newest titles that a user's history keeps")


class MinCounts(Section):
    """How often a token must occur to get an id; other kinds have constants in jobs/vocabularies.py."""

    person: Count = Field(description="titles that must name a person of cast or crew before it gets an id")


class Text(Section):
    encoder: Literal["tfidf", "sentence"] = Field(
        description="tfidf is fitted on the catalogue; sentence is a network whose weights lie in folder"
    )
    encodes_titles: bool = Field(description="whether the title is also encoded by itself, besides the fields together")
    fields: Annotated[Sequence[TextField], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="what is encoded, in this order; starring and directed_by are cast and directors as a sentence"
    )
    dims: Positive = Field(description="tfidf: size of an embedding")
    folder: Location | None = Field(description="sentence: folder of the weights")
    max_tokens: Positive = Field(description="sentence: tokens that are read of a text")

    @model_validator(mode="after")
    def _sentence_has_weights(self) -> "Text":
        if self.encoder == "sentence" and self.folder is None:
            raise ValueError("encoder 'sentence' needs folder, where its weights lie")
        return self


class Posters(Section):
    encoder: Literal["descriptor", "keras"] = Field(
        description="descriptor is a colour layout; keras is a network of tf_keras.applications"
    )
    application: str = Field(description="keras: name of the network in tf_keras.applications")
    weights_file: Location | None = Field(description="keras: file of its weights")

    @model_validator(mode="after")
    def _network_has_weights(self) -> "Posters":
        if self.encoder == "keras" and self.weights_file is None:
            raise ValueError("encoder 'keras' needs weights_file")
        return self


class TitleFeatures(Section):
    text: Text
    posters: Posters


class Examples(Section):
    history_titles: Positive = Field(description="length of the padded history of training_examples")
    user_history_titles: Positive = Field(description="length of the padded history of training_users")
    held_out_titles_share: Share = Field(
        description="share of titles kept out of all training rows, as target and in histories, to measure cold starts"
    )
    split: Literal["by_date", "last_share", "none"] = Field(
        description="by_date holds the newest days back, last_share each user's last positives, none nothing"
    )
    validation_days: Count = Field(description="by_date: days of the validation split, before the test days")
    test_days: Count = Field(description="by_date: newest days, which are the test split")
    validation_share: Share = Field(
        description="last_share: share of each user's positives for validation, before the test share"
    )
    test_share: Share = Field(description="last_share: share of each user's positives, the last ones, for the test")
    rows_per_group: Positive = Field(description="rows of a Parquet row group, the unit that training shuffles")

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Examples":
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on"
            )
        return self
