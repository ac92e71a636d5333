"""Settings keys of earlier versions, so that the loader refuses each by name and says what replaces it."""

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "gate.max_unmet_share": "gate.max_unseen_share",
    "position_bias.appeal_power": "position_bias.debiased_popularity_power",
}

# Key to "FILE: NAME": the constant that took the setting's place, with its value.
CONSTANTS = {
    "change_rows.checkpoint_days": "jobs/store/change_rows.py: CHECKPOINT_DAYS",
    "lake.write_attempts": "jobs/store/tables.py: WRITE_ATTEMPTS",
    "airflow.retry_delay_seconds": "dags/wiring.py: RETRY_DELAY",
    "airflow.max_retry_delay_seconds": "dags/wiring.py: MAX_RETRY_DELAY",
    "staging.max_line_bytes": "jobs/staging/parsing.py: MAX_LINE_BYTES",
    "staging.min_event_date": "jobs/stg_events.py: MIN_EVENT_DATE",
    "staging.max_days_ahead": "jobs/stg_events.py: MAX_DAYS_AHEAD",
    "vocabulary_min_counts.genre": "jobs/vocabularies.py: MIN_COUNTS",
    "vocabulary_min_counts.language": "jobs/vocabularies.py: MIN_COUNTS",
    "vocabulary_min_counts.country": "jobs/vocabularies.py: MIN_COUNTS",
    "vocabulary_min_counts.provider": "jobs/vocabularies.py: MIN_COUNTS",
    "vocabulary_min_counts.theme": "jobs/vocabularies.py: MIN_COUNTS",
    "vocabulary_min_counts.title": "jobs/vocabularies.py: MIN_COUNTS",
    "title_features.max_genres": "jobs/title_features.py: MAX_IDS",
    "title_features.max_themes": "jobs/title_features.py: MAX_IDS",
    "title_features.max_cast": "jobs/title_features.py: MAX_IDS",
    "title_features.max_directors": "jobs/title_features.py: MAX_IDS",
    "title_features.text.max_chars": "jobs/features/text_encoder_terms.py: MAX_CHARS",
    "title_features.text.max_terms": "jobs/features/text_encoder_terms.py: MAX_TERMS",
    "title_features.text.max_fit_texts": "jobs/features/text_encoder_terms.py: MAX_FIT_TEXTS",
    "title_features.text.min_documents": "jobs/features/text_encoder_terms.py: MIN_DOCUMENTS",
    "title_features.text.max_document_share": "jobs/features/text_encoder_terms.py: MAX_DOCUMENT_SHARE",
    "title_features.text.refit_growth": "jobs/features/text_encoder_terms.py: REFIT_GROWTH",
    "title_features.text.batch_size": "jobs/features/title_encoding.py: BATCH_SIZE",
    "title_features.posters.batch_size": "jobs/features/title_encoding.py: BATCH_SIZE",
    "title_features.posters.image_size": "jobs/features/title_encoding.py: IMAGE_SIZE",
    "title_features.posters.max_bytes": "jobs/features/title_encoding.py: MAX_POSTER_BYTES",
    "title_features.posters.max_pixels": "jobs/features/title_encoding.py: MAX_POSTER_PIXELS",
    "examples.max_rows_per_file": "jobs/training_examples.py: MAX_ROWS_PER_FILE",
    "baselines.max_titles": "models/baselines/build.py: MAX_TITLES",
    "baselines.ridge.noise": "models/baselines/build.py: RIDGE_NOISE",
    "baselines.ridge.noise_power": "models/baselines/build.py: RIDGE_NOISE_POWER",
    "baselines.ridge.length_scale": "models/baselines/build.py: RIDGE_LENGTH_SCALE",
    "baselines.marec.regularization": "models/baselines/build.py: MAREC_REGULARIZATION",
    "baselines.marec.alignment": "models/baselines/build.py: MAREC_ALIGNMENT",
    "model.cold_start.noise": "models/linear/cold_ridge.py: NOISE",
    "model.cold_start.noise_power": "models/linear/cold_ridge.py: NOISE_POWER",
    "model.cold_start.length_scale": "models/linear/cold_ridge.py: LENGTH_SCALE",
    "position_bias.min_clicks": "models/debiasing/title_weights.py: MIN_CLICKS",
    "training.final_learning_rate_share": "models/fit/epochs.py: FINAL_LEARNING_RATE_SHARE",
    "training.validation_users": "models/fit/tower_validation.py: VALIDATION_USERS",
    "training.dropped_share": "models/fit/network.py: DROPPED_SHARE",
    "training.target_power": "models/fit/network.py: TARGET_POWER",
    "evaluation.history_titles": "models/evaluation/measurement.py: HISTORY_TITLES",
    "evaluation.confidence": "models/evaluation/comparison.py: CONFIDENCE",
    "evaluation.head_share": "models/evaluation/segments.py: HEAD_SHARE",
    "evaluation.head_and_mid_share": "models/evaluation/segments.py: HEAD_AND_MID_SHARE",
    "evaluation.ages_days": "models/evaluation/measurement.py: AGES_DAYS",
    "gate.events_days": "models/gating/gate_rules.py: EVENTS_DAYS",
    "dial.user_group_share": "models/dial.py: USER_GROUP_SHARE",
    "dial.refinements": "models/evaluation/dial_settings.py: REFINEMENTS",
    "readiness.max_titles": "models/studies/content_evidence.py: MAX_TITLES",
    "readiness.people": "models/studies/content_evidence.py: MAX_USERS",
    "readiness.kernel_power": "models/studies/content_evidence.py: KERNEL_POWER",
    "readiness.spread_width": "models/studies/content_evidence.py: SPREAD_WIDTH",
    "backtest.known_likes": "models/studies/new_titles.py: FIRST_KNOWN_LIKES",
    "backtest.later_days": "models/studies/new_titles.py: LATER_DAYS",
    "time_machine.known_likes": "models/studies/new_titles.py: FIRST_KNOWN_LIKES",
    "time_machine.later_days": "models/studies/new_titles.py: LATER_DAYS",
    "report.titles": "review/examples.py: TITLES",
    "index.dims_per_block": "indexing/ann/scann_index.py: DIMS_PER_BLOCK",
    "index.anisotropic_threshold": "indexing/ann/scann_index.py: ANISOTROPIC_THRESHOLD",
    "index.soar_lambda": "indexing/ann/scann_index.py: SOAR_LAMBDA",
    "index.popularity_count": "indexing/bundle/lake_inputs.py: POPULARITY_COUNT",
    "index.brute_force_below_titles": "indexing/ann/scann_index.py: BRUTE_FORCE_BELOW_TITLES",
    "index.max_score_difference": "indexing/bundle/parity.py: MAX_SCORE_DIFFERENCE",
    "index.golden_users": "indexing/bundle/builder.py: GOLDEN_USERS",
    "index.leading_share": "indexing/ann/scann_index.py: LEADING_SHARE",
    "serving.overfetch": "serving/search/planner.py: OVERFETCH",
    "serving.exact_price": "serving/search/planner.py: EXACT_PRICE",
    "serving.batch_users": "serving/retriever.py: BATCH_USERS",
    "serving.max_providers": "serving/http/requests.py: MAX_PROVIDERS",
    "serving.reason_history_titles": "serving/retriever.py: REASON_HISTORY_TITLES",
    "serving.similar_refetch": "serving/retriever.py: SIMILAR_REFETCH",
    "serving.cached_filters": "serving/retriever.py: CACHED_FILTERS",
    "serving.reason_titles": "serving/retriever.py: REASON_TITLES",
    "serving.reason_names": "serving/retriever.py: REASON_NAMES",
}

_IDS_ALONE = "towers know titles by id alone"
_BY_USER = "both losses are by user; see training.users_per_batch and training.negatives"
# Key to the reason why nothing takes its place.
REMOVED = {
    "model.content_blocks": _IDS_ALONE,
    "model.id_dropout": _IDS_ALONE,
    "model.content_dropout": _IDS_ALONE,
    "training.content_weight_decay": _IDS_ALONE,
    "model.learn_temperature": "model.temperature is fixed",
    "training.max_softmax_titles": "the faster loss is chosen by cost; see training.negatives",
    "training.examples_per_batch": _BY_USER,
    "training.uniform_negatives": _BY_USER,
    "training.correct_sampling": _BY_USER,
    "baselines.ridge.cold_scale": "it was 1 everywhere, which changes nothing",
}

KEYS = (*RENAMED, *CONSTANTS, *REMOVED)


def current(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A section's `values`, as a bundle of an earlier version stored them, less the keys that are constants now."""
    return {name: value for name, value in values.items() if f"{section}.{name}" not in CONSTANTS}


def replacement(key: str) -> str | None:
    """The sentence part that says what became of a key, or None for a key that never was one."""
    if key in RENAMED:
        return f"'{key}' is now '{RENAMED[key]}'"
    if key in CONSTANTS:
        file, name = CONSTANTS[key].split(": ")
        return f"'{key}' is no longer a setting: it is the constant {name} in {file}"
    if key in REMOVED:
        return f"'{key}' was removed: {REMOVED[key]}"
    return None
