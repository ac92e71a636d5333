"""Tables of features and training examples: histories, vocabulary_min_counts, title_features, examples."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from conf.settings.section import Count, Location, Positive, Section, Share

TextField = Literal[
    "title", "title_and_year", "plot", "genres", "themes", "cast", "starring", "directors", "directed_by"
]


class Histories(Section):
    max_titles: Positive


class MinCounts(Section):
    """How often a token must occur to get an id; title_id counts positives, so 0 gives an id to the whole catalogue."""

    theme: Count
    person: Count


class Text(Section):
    encoder: Literal["tfidf", "sentence"]
    encodes_titles: bool  # the title by itself too, besides the fields together
    # what is read, in this order, each a sentence: starring and directed_by are cast and directors as one would say it
    fields: Annotated[Sequence[TextField], Field(min_length=1), AfterValidator(tuple)]
    # of tfidf, which is fitted on the catalogue
    dims: Positive
    min_documents: Positive
    max_document_share: Share
    # of sentence, whose weights lie in a folder
    folder: Location | None
    max_tokens: Positive

    @model_validator(mode="after")
    def _sentence_has_weights(self) -> "Text":
        if self.encoder == "sentence" and self.folder is None:
            raise ValueError("encoder 'sentence' needs folder, where its weights lie")
        return self


class Posters(Section):
    encoder: Literal["descriptor", "keras"]
    max_bytes: Positive
    # of keras, a network of tf_keras.applications with weights from a file
    application: str
    weights_file: Location | None

    @model_validator(mode="after")
    def _network_has_weights(self) -> "Posters":
        if self.encoder == "keras" and self.weights_file is None:
            raise ValueError("encoder 'keras' needs weights_file")
        return self


class TitleFeatures(Section):
    max_genres: Positive
    max_themes: Positive
    max_cast: Positive
    max_directors: Positive
    text: Text
    posters: Posters


class Examples(Section):
    history_titles: Positive  # length of the padded history
    user_history_titles: Positive  # the same in training_users
    held_out_titles_share: Share  # kept out of all training rows, as target and as history, to measure cold starts
    split: Literal["by_date", "last_share", "none"]
    validation_days: Count  # by_date: the days before the test days
    test_days: Count  # by_date: the newest days
    validation_share: Share  # last_share: of each user's positives, before the test share
    test_share: Share  # last_share: each user's last ones
    rows_per_group: Positive  # of a Parquet row group, the unit that training shuffles

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Examples":
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on"
            )
        return self
