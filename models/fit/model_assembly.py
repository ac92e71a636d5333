"""Assembly of the trained parts into one model: towers, EASE, content and ALS."""

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Settings
from lake.arrays import Floats
from models.blend.combined import Part, combine
from models.blend.two_tower import LearntTitles, ModelCard, TwoTower
from models.data.padded_histories import pad_newest_first
from models.fit.inputs import Inputs
from models.fit.tower_validation import tower_queries
from models.linear import cold_ridge, linear_part
from models.linear.als import Als
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import features, select
from models.linear.ease import Ease
from models.towers.layers import QUERY_WEIGHTS
from models.towers.networks import TwoTowerNetwork
from models.towers.query_module import QueryParameters

log = logging.getLogger("marquee")

_MAX_EASE_TITLES = 20_000  # a matrix of all pairs takes 3.2 GB
_MAX_SAMPLED_USERS = 10_000  # users of the sample that decides which directions are kept


def assemble(settings: Settings, inputs: Inputs, network: TwoTowerNetwork) -> TwoTower:
    """The model: towers, the part linear in likes and ALS as one compressed vector per title and per query."""
    options = settings.model
    tower_vectors = network.titles.table().numpy()[1:].astype(np.float32)
    histories = inputs.positives[_sample_users(inputs.positives, settings.seed)]
    leaves_popularity = network.log_popularity is not None
    # Beside towers that leave popularity out, ALS would bring it back, and nothing else.
    als = _fit_als(settings, inputs) if options.weights.als > 0 and not leaves_popularity else None
    parts = _make_parts(settings, inputs, network, tower_vectors, histories, als)
    cold_user_scores = np.log(inputs.debiased_popularity[inputs.warm])
    combined = combine(parts, options.compressed_dims, settings.seed, cold_user_scores)
    titles = LearntTitles(
        title_ids=inputs.title_ids,
        counts=inputs.positive_counts,
        vectors=combined.vectors,
        tower=tower_vectors,
        linear=combined.projections.get("linear", np.zeros_like(combined.vectors)),
        factors=_float32(als.title_vectors) if als else np.empty((len(tower_vectors), 0), dtype=np.float32),
    )
    # As long as the mean query, so that the popularity dial changes cold users' lists as much.
    cold_user_query = float(np.linalg.norm(combined.queries(parts), axis=1).mean()) * combined.cold_user_query
    query = QueryParameters(
        tower={name: getattr(network.query, name).numpy() for name in QUERY_WEIGHTS},
        tower_projection=combined.projections["towers"],
        factor_projection=combined.projections.get("als", np.empty((0, combined.vectors.shape[1]), dtype=np.float32)),
        part_weights={
            **{"linear": 0.0, "als": 0.0},
            "popularity": options.weights.popularity if leaves_popularity else 0.0,
            **{name: part.weight for name, part in parts.items()},
        },
        system=_float32(als.system) if als else np.empty((0, 0), dtype=np.float32),
        cold_user_query=cold_user_query,
        alpha=settings.model.als.alpha,
        positive_min_weight=settings.interactions.positive_min_weight,
        recency_half_life=options.recency.half_life_titles or 0.0,
        recency_floor=options.recency.floor,
    )
    blocks = dict(settings.content.blocks)
    card = ModelCard(settings.examples.user_history_titles, blocks, inputs.countries, _cold_ridge(settings))
    return TwoTower(titles, query, card)


def _make_parts(
    settings: Settings,
    inputs: Inputs,
    network: TwoTowerNetwork,
    tower_vectors: Floats,
    histories: sparse.csr_matrix,
    als: Als | None,
) -> dict[str, Part]:
    """Parts by name, with the queries of `histories` [sampled users, warm titles]."""
    weights = settings.model.weights
    padded = pad_newest_first(histories, None, None, settings.examples.user_history_titles)
    parts = {"towers": Part(tower_queries(network, padded), tower_vectors, weights.towers)}
    if matrices := list(_linear_matrices(settings, inputs)):
        lengths = np.sqrt(np.maximum(np.diff(histories.indptr), 1))
        shares = sparse.csr_matrix(sparse.diags(1 / lengths) @ histories)  # otherwise long histories would dominate
        parts["linear"] = linear_part.linear_part(shares, matrices)
    if als:
        parts["als"] = Part(_float32(als.user_vectors(histories)), _float32(als.title_vectors), weights.als)
    return parts


def _linear_matrices(settings: Settings, inputs: Inputs) -> Iterator[tuple[Floats, float]]:
    """Weight matrices [warm titles, warm titles] of EASE and of content, each with the part's weight."""
    weights = settings.model.weights
    if weights.ease > 0 and len(inputs.warm) <= _MAX_EASE_TITLES:
        yield _fit_ease(settings, inputs), weights.ease
    if not weights.content:
        return
    max_titles = settings.model.cold_start.max_titles
    if not 2 <= len(inputs.warm) <= max_titles:
        log.info("content gets no weight in scores of %d titles: it needs 2 to %d", len(inputs.warm), max_titles)
        return
    rows = select(features(inputs.catalogue.content.only(settings.content.blocks)), inputs.warm)
    yield linear_part.content_weights(rows, inputs.positive_counts, _cold_ridge(settings)), weights.content


def _fit_ease(settings: Settings, inputs: Inputs) -> Floats:
    """Weights [warm titles, warm titles]."""
    options = settings.model.ease
    ease = Ease(
        options.regularization,
        _MAX_EASE_TITLES,
        dropout=options.dropout,
        history_power=options.history_power,
    )
    ease.fit(inputs.positives, inputs.catalogue.content)
    return ease.weights.astype(np.float32)  # all titles are warm, so all are used


def _sample_users(positives: sparse.csr_matrix, seed: int) -> NDArray[np.int64]:
    if positives.shape[0] <= _MAX_SAMPLED_USERS:
        return np.arange(positives.shape[0])
    return np.sort(np.random.default_rng(seed).choice(positives.shape[0], _MAX_SAMPLED_USERS, replace=False))


def _fit_als(settings: Settings, inputs: Inputs) -> Als:
    options = settings.model.als
    als = Als(options.factors, options.regularization, options.alpha, options.iterations, settings.seed)
    als.fit(inputs.positives, inputs.catalogue.content)
    return als


def _cold_ridge(settings: Settings) -> ColdRidge:
    return ColdRidge(
        **settings.model.cold_start.model_dump(),
        noise=cold_ridge.NOISE,
        noise_power=cold_ridge.NOISE_POWER,
        length_scale=cold_ridge.LENGTH_SCALE,
    )


def _float32(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
