"""Every value a run depends on, as one frozen, typed object.

`conf/local.yaml` holds all of it. Any other file given by `--conf` holds overrides only and is laid over it, and
`--set key.path=value` is laid over both. Keys carry their units.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
TextField = Literal[
    "title", "title_and_year", "plot", "genres", "themes", "cast", "starring", "directors", "directed_by"
]
ContentBlock = Literal[
    "genres",
    "genre_pairs",
    "themes",
    "people",
    "cast",
    "directors",
    "credits",
    "lead",
    "fame",
    "language",
    "month",
    "weekday",
    "year",
    "year_5",
    "year_3",
    "title",
    "plot",
    "poster",
]


def _absolute(location: str) -> str:
    """A folder or URI as jobs on any working directory understand it: relative paths are from here."""
    return location if urlsplit(location).scheme else str(Path(location).absolute())


Location = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
# A mapping that nothing changes after loading, written to JSON as any other.
_READ_ONLY = AfterValidator(lambda values: MappingProxyType(dict(values)))
_FROZEN = (_READ_ONLY, PlainSerializer(lambda values: dict(values)))
# Nothing ships the settings to workers: transforms get plain values, so that this need not be picklable.
SparkConf = Annotated[Mapping[str, str], *_FROZEN]


def _in_use(weights: Mapping[str, float]) -> dict[str, float]:
    """What counts for something: a file that lies over another can't take a key out, but set it to 0."""
    if unknown := [name for name in weights if name not in get_args(ContentBlock)]:
        raise ValueError(f"no block of content is called {unknown[0]!r}; there are {', '.join(get_args(ContentBlock))}")
    used = {name: weight for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError("expected a block of content whose weight is above 0")
    return used


def _with_unused(weights: Mapping[str, float]) -> dict[str, float]:
    """All blocks, 0 where one is not in use: a file of settings says so to whoever lays it over another."""
    return {**weights, **{name: 0.0 for name in get_args(ContentBlock) if name not in weights}}


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
    copies: Location  # a folder of this machine, for bundles of a root that is none


class Mlflow(Section):
    tracking_uri: str
    artifacts_root: Location | None  # what runs log as files; None lets a tracking server decide


class Airflow(Section):
    """Times of cron expressions are UTC."""

    home: Location
    database_uri: str
    port: Annotated[int, Field(ge=1, lt=65536)]  # of its pages, on loopback
    nightly_schedule: str  # runs for the day before the one on which it starts
    maintenance_schedule: str
    retries: Count
    retry_delay_seconds: Positive  # doubled with each retry
    max_retry_delay_seconds: Positive
    feeds_poke_seconds: Positive  # how often a night looks whether its feeds are there
    feeds_timeout_seconds: Positive  # how long it waits for them
    feeds_settled_seconds: Count  # files that changed later than this ago may still be written
    task_timeout_minutes: Positive
    training_timeout_minutes: Positive
    spark_slots: Positive  # Spark jobs at a time
    training_slots: Positive  # trainings and index builds at a time
    training_queue: str  # the queue whose workers have a GPU
    alert_webhook: str | None  # what failed is sent there, as JSON


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


class Interactions(Section):
    """Weights are in units of a like; an event type whose weight is 0 makes no interaction."""

    impression: float
    detail_view: float
    clickout: float
    watchlist_add: float
    seen: float
    like: float
    dislike: float
    rating_neutral: float  # a rating weighs (rating - rating_neutral) / (staging.max_rating - rating_neutral)
    positive_min_weight: Annotated[float, Field(gt=0)]


class PositionBias(Section):
    """What a title's place in a list does to its clicks; see models/position_bias.py."""

    random_variant: str  # of events whose titles stood in random order
    max_weight: Annotated[float, Field(ge=1)]  # of a click in training, for its place in the list; 1 corrects nothing
    exposure_power: Annotated[float, Field(ge=0)]  # of how often a title was looked at, that its likes are divided by
    appeal_power: Annotated[float, Field(ge=0)]  # the same, of what people without a history are recommended
    min_clicks: Positive  # in random order, for the correction to be made


class ChangeRows(Section):
    checkpoint_days: Positive  # every so many days each key has a row, so that an as-of read goes back no further


class Histories(Section):
    max_titles: Positive


class MinCounts(Section):
    """How often a token must occur to get an id; title_id counts positives, so 0 gives an id to the whole catalogue."""

    genre: Count
    theme: Count
    person: Count
    language: Count
    country: Count
    provider: Count
    title: Count


class Text(Section):
    encoder: Literal["tfidf", "sentence"]
    encodes_titles: bool  # the title by itself too, besides the fields together
    # what is read, in this order, each a sentence: starring and directed_by are cast and directors as one would say it
    fields: Annotated[Sequence[TextField], Field(min_length=1), AfterValidator(tuple)]
    max_chars: Positive
    # of tfidf, which is fitted on the catalogue
    dims: Positive
    min_documents: Positive
    max_document_share: Share
    max_terms: Positive
    max_fit_texts: Positive
    refit_growth: Annotated[float, Field(gt=1)]  # fitted anew when the catalogue has grown by this factor
    # of sentence, whose weights lie in a folder
    folder: Location | None
    max_tokens: Positive
    batch_size: Positive

    @model_validator(mode="after")
    def _sentence_has_weights(self) -> "Text":
        if self.encoder == "sentence" and self.folder is None:
            raise ValueError("encoder 'sentence' needs folder, where its weights lie")
        return self


class Posters(Section):
    encoder: Literal["descriptor", "keras"]
    max_bytes: Positive
    max_pixels: Positive
    # of keras, a network of tf_keras.applications with weights from a file
    application: str
    weights_file: Location | None
    image_size: Positive
    batch_size: Positive

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
    max_rows_per_file: Positive

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Examples":
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on"
            )
        return self


class ContentBlocks(Section):
    # What models know of a title. A field that only known titles have gives their popularity away: measure with and
    # without it.
    blocks: Annotated[  # how much each counts
        Mapping[str, Weight], AfterValidator(_in_use), _READ_ONLY, PlainSerializer(_with_unused)
    ]


class AlsBaseline(Section):
    factors: Positive
    regularization: Annotated[float, Field(ge=0)]
    alpha: Annotated[float, Field(gt=0)]  # weight of a like, beside 1 of every other title
    iterations: Positive


class EaseBaseline(Section):
    regularization: Annotated[float, Field(gt=0)]


class RidgeBaseline(Section):
    noise: Annotated[float, Field(gt=0)]  # of a title of mean popularity; the kernel of a title with itself is 1
    noise_power: Annotated[float, Field(ge=0)]  # the less popular, the noisier
    length_scale: Annotated[float, Field(gt=0)]  # of the kernel; two titles are some sqrt(2) apart
    cold_scale: Annotated[float, Field(gt=0)]  # predictions are too short: how much longer cold titles are made


class MarecBaseline(Section):
    regularization: Annotated[float, Field(gt=0)]
    alignment: Annotated[float, Field(ge=0)]  # weight of what content says beside what users liked


class Baselines(Section):
    max_titles: Positive  # EASE, MARec and ridges are quadratic in titles: only the most liked ones are used
    als: AlsBaseline
    ease: EaseBaseline
    ridge: RidgeBaseline
    marec: MarecBaseline


class ColdStart(Section):
    """How content speaks for titles that few or nobody liked: a kernel ridge from what was learnt of those liked."""

    max_titles: Positive  # of those with a vector, the most liked are learnt from; time grows with their cube
    noise: Annotated[float, Field(gt=0)]
    noise_power: Annotated[float, Field(ge=0)]
    length_scale: Annotated[float, Field(gt=0)]
    alone_share: Share  # of the kernel, that comes of each block of content by itself
    scale: Annotated[float, Field(gt=0)]  # how much longer than predicted
    length_power: Share  # 1: all as long, however popular content promises a title to be; 0: as predicted
    prior_likes: Annotated[float, Field(ge=0)]  # that content counts as, of a title that has likes; 0: it has no say


class ModelEase(Section):
    """EASE as a part of the model; see `models.linear.ease.Ease`."""

    regularization: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    history_power: Annotated[float, Field(ge=0, le=1)]


class PartWeights(Section):
    """How much each part counts, the scores of each having standard deviation 1 over titles."""

    towers: Annotated[float, Field(gt=0)]
    ease: Weight
    content: Weight  # of what the content of liked titles says of others
    als: Weight


class Recency(Section):
    """How much a title of a history counts, by how many were liked after it; see `models.towers.query_module`."""

    half_life_titles: Annotated[float, Field(gt=0)] | None  # none: all count alike
    floor: Share  # what the oldest one counts beside the newest


class Model(Section):
    dim: Positive  # of the towers
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    content_blocks: Annotated[Sequence[ContentBlock], AfterValidator(tuple)]  # of the title tower; none is ids alone
    id_dropout: Annotated[float, Field(ge=0, lt=1)]
    content_dropout: Annotated[float, Field(ge=0, lt=1)]
    ease: ModelEase
    weights: PartWeights
    recency: Recency
    compressed_dims: Annotated[int, Field(ge=2)]  # of the one vector that a title's parts become
    cold_start: ColdStart


class Training(Section):
    loss: Literal["auto", "user_softmax", "sampled_softmax"]  # auto: the first while the catalogue allows it
    max_softmax_titles: Positive
    epochs: Positive
    warm_start: bool  # begin with the champion's towers, where there is a champion
    warm_start_epochs: Positive  # then so many are enough
    users_per_batch: Positive  # user_softmax
    dropped_share: Annotated[Sequence[Share], Field(min_length=2, max_length=2), AfterValidator(tuple)]
    target_power: Annotated[float, Field(ge=0)]
    examples_per_batch: Positive  # sampled_softmax
    uniform_negatives: Positive
    correct_sampling: bool
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate_share: Share
    content_weight_decay: Annotated[float, Field(ge=0)]
    patience_epochs: Positive  # without a better validation figure, where a split holds something back
    validation_users: Positive  # at most so many are asked after each epoch
    shuffle_buffer_rows: Positive
    reader_threads: Positive
    strategy: Literal["auto", "none", "mirrored", "multi_worker"]
    mixed_precision: Literal["auto", "on", "off"]
    xla: Literal["auto", "on", "off"]
    checkpoints: Location  # unfinished trainings, to go on from


class Evaluation(Section):
    k: Annotated[Sequence[Positive], Field(min_length=1), AfterValidator(tuple)]  # lengths of the lists measured
    resamples: Positive  # of users, for intervals
    confidence: Annotated[float, Field(gt=0, lt=1)]
    head_share: Share  # of all positives: the most popular titles that together have it are the head
    head_and_mid_share: Share  # likewise with the titles after them; the others that have a positive are the tail
    history_titles: Annotated[Sequence[Count], AfterValidator(tuple)]  # lengths at which segments of users begin
    ages_days: Annotated[Sequence[Count], AfterValidator(tuple)]  # ages at which segments of positives begin


class Gate(Section):
    """What a challenger must show against the champion, or ALS where there is none; shares are of that one's figure."""

    split: Literal["validation", "test"]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]  # that a loss in a segment is no chance, all segments together
    min_users: Positive  # smaller segments are shown and decide nothing
    min_gain: float  # over everybody the mean difference of recall and NDCG must lie above it
    max_overall_loss_share: Share  # nor may the interval of that difference reach further below 0
    max_segment_loss_share: Share
    max_coverage_loss_share: Share
    max_popularity_gain_share: Annotated[float, Field(ge=0)]
    max_unmet_share: Share  # of all places of lists, that may go to titles that nobody has met
    min_cold_to_warm: Share  # of the recall of known titles, that new ones must get on replayed nights
    max_rejected_share: Share  # of a night's lines, copies not counted
    min_events_share: Share  # of the median of the days before: less is half a feed
    events_days: Positive  # how many days before


class Report(Section):
    root: Location  # <root>/<day>/ holds the pages of a night
    users: Positive  # examples, old recommender against new
    titles: Positive  # shown to each
    price_per_hour: Annotated[float, Field(ge=0)]  # of the machine that a night runs on, in any currency


class Dial(Section):
    """Which settings of the popularity dial are measured, and how the named ones are chosen; see models/dial_settings.

    Values are in standard deviations of a user's scores of the candidates: below 0 hidden gems, above 0 the well known.
    """

    values: Annotated[Sequence[float], Field(min_length=1), AfterValidator(tuple)]
    refinements: Count  # how often halfway between a named setting and the next one is measured, too
    balanced_max_loss_share: Share  # of the best NDCG, that it may cost
    popular_max_loss_share: Share  # of the best recall, that each may cost
    discover_max_loss_share: Share
    gems_max_loss_share: Share
    user_group_share: Annotated[float, Field(gt=0, le=0.5)]  # of users, that love blockbusters, and likewise the niche


class Readiness(Section):
    """How titles are found whose placing by content tells of that of a new one; see models/readiness.py."""

    max_titles: Positive  # known titles, the most liked; memory grows with their square, time with their cube
    people: Positive  # whose scores are compared
    kernel_power: Annotated[float, Field(gt=0)]  # of the model's kernel: the higher, the fewer titles count as alike
    spread_width: Annotated[float, Field(gt=0)]  # how far apart, as a logarithm, predictions as decided may be


class TimeMachine(Section):
    """How new titles fare on historical nights; see models/backtest.py."""

    known_likes: Annotated[Sequence[Count], AfterValidator(tuple)]  # of a title, at which segments of positives begin
    later_days: Positive  # a title is no longer new so long after its release


class Index(Section):
    """How a bundle is built; dial values are in standard deviations of a user's scores of the candidates."""

    popularity_count: Literal["count_positives_28d", "count_positives_ever"]  # of title_features
    # What the dial turns: log(1 + positives), or the share of titles with fewer. Bundles of before are of the first.
    popularity_scale: Literal["log", "rank"] = "log"
    freshness_decay_days: Annotated[float, Field(gt=0)]
    dial_settings: Annotated[Mapping[str, float], *_FROZEN]
    dial_reach: Annotated[float, Field(gt=0)]  # how far the dial may be turned to either side
    brute_force_below_titles: Count  # ScaNN's own rule
    tree_from_titles: Count  # likewise; in between titles are hashed, but all are looked at
    leaves_per_root: Annotated[float, Field(gt=0)]  # leaves of the tree per square root of titles
    leading_share: Annotated[float, Field(gt=0, le=1)]  # of the variance of scores, which the tree and hashing look at
    dims_per_block: Positive  # of hashing
    anisotropic_threshold: Annotated[float, Field(gt=0, lt=1)]
    soar_lambda: Annotated[float, Field(gt=0)]
    threads: Count  # that compile a searcher; 0 is all
    queries: Annotated[int, Field(ge=2)]  # histories that the searchers are tuned with, and as many that measure them
    min_recall_at_10: Share
    min_recall_at_100: Share
    min_overlap: Share  # of top 20s: of both searchers, and of what training and the bundle answer golden users
    max_score_difference: Annotated[float, Field(gt=0)]  # training against bundle, in those standard deviations
    golden_users: Positive
    keep_bundles: Positive  # the newest ones, beside those below and the live one
    keep_days: Count  # bundles younger than this


class Serving(Section):
    """How a bundle is asked, and the reference server."""

    host: str  # whose address the server listens at; loopback unless told otherwise
    port: Annotated[int, Field(ge=0, lt=65536)]  # 0 takes a free one
    refresh_seconds: Annotated[float, Field(gt=0)]  # how often the pointer is looked at for a new bundle
    refused_retry_seconds: Annotated[float, Field(gt=0)]  # how long a bundle that was refused is left alone
    titles: Positive  # in an answer where nobody says how many
    max_titles: Positive  # the most in an answer
    max_history_titles: Positive  # of a request
    max_listed_titles: Positive  # to leave out, or to choose from
    max_providers: Positive
    max_body_bytes: Positive
    exact_max_titles: Count  # so many that may be recommended are all scored; of more, the index is asked
    overfetch: Annotated[float, Field(ge=1)]  # how many more than expected are fetched, so that enough pass a filter
    exact_price: Annotated[float, Field(gt=0)]  # of scoring a title, in those of fetching one from the index
    similar_refetch: Annotated[float, Field(ge=1)]  # how many more than wanted the index gives for a list by likeness
    cached_filters: Positive  # titles on offer for so many pairs of country and providers are kept
    threads: Positive  # that one request may take, or one worker of batch inference
    batch_users: Positive  # of batch inference, at a time
    reason_titles: Positive  # of the history, per recommended title
    reason_history_titles: Positive  # that are left out one by one, to see what each weighs
    reason_names: Positive  # of themes, people and genres each


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
    interactions: Interactions
    position_bias: PositionBias
    change_rows: ChangeRows
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
    readiness: Readiness
    time_machine: TimeMachine
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
