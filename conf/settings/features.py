"""Tables of features and training examples: histories, vocabulary_min_counts, title_features, examples."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from conf.settings.section import Count, Location, Positive, Section, Share

TextField = Literal[
    "title", "title_and_year", "plot", "genres", "themes", "cast", "starring", "directors", "directed_by"
]


class Histories(Section):
    max_titles: Positive = Field(description="largest length of a user's history; the newest titles are kept")


class MinCounts(Section):
    """Occurrences a token needs to get an id; other kinds have constants in jobs/vocabularies.py."""

    person: Count = Field(description="titles that must name a cast or crew member before the person gets an id")


class Text(Section):
    encoder: Literal["tfidf", "sentence"] = Field(
        description="tfidf is fitted on the catalogue; sentence is a network with weights in folder"
    )
    encodes_titles: bool = Field(description="true encodes the title by itself too, in addition to the fields together")
    fields: Annotated[Sequence[TextField], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="fields to encode, in this order; starring and directed_by are cast and directors as a sentence"
    )
    dims: Positive = Field(description="tfidf: dimensions of an embedding")
    folder: Location | None = Field(description="sentence: folder of the weights")
    max_tokens: Positive = Field(description="sentence: tokens of a text to read")

    @model_validator(mode="after")
    def _sentence_has_weights(self) -> "Text":
        if self.encoder == "sentence" and self.folder is None:
            raise ValueError("encoder 'sentence' needs folder, where its weights lie")
        return self


class Posters(Section):
    encoder: Literal["descriptor", "keras"] = Field(
        description="descriptor is the colour layout; keras is a network of tf_keras.applications"
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
        description="share of titles left out of all training rows, as targets and in histories, to measure cold starts"
    )
    split: Literal["by_date", "last_share", "none"] = Field(
        description="by_date holds back the newest days, last_share each user's last positives, none nothing"
    )
    validation_days: Count = Field(description="by_date: days in the validation split, just before the test days")
    test_days: Count = Field(description="by_date: days in the test split, the newest ones")
    validation_share: Share = Field(
        description="last_share: share of each user's positives in the validation split, just before the test share"
    )
    test_share: Share = Field(description="last_share: share of each user's positives in the test split, the last ones")
    rows_per_group: Positive = Field(description="rows per Parquet row group, the unit that training shuffles")

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Examples":
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on"
            )
        return self
