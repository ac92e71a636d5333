"""The trained model: title vectors and a query tower whose inner product is the score.

Seen titles keep what training learnt, blended with a prediction from content where they have few positives. Unseen
titles, those announced today among them, get all of it from content, by a ridge fitted on the seen titles. The ridge is
fitted anew on today's catalogue, so that it follows metadata and encoders that changed since the training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lake.arrays import NO_TITLE, Floats, Ids
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.data.padded_histories import PaddedHistories, pad_newest_first
from models.errors import ModelError
from models.evaluation.evaluation_set import EvaluationSet
from models.linear import cold_ridge
from models.linear.cold_ridge import ColdRidge
from models.linear.content_kernel import features, select
from models.linear.nearest import nearest_by_cosine
from models.recommender import Scores, recommend_by, top_titles
from models.towers.networks import TwoTowerNetwork
from models.towers.query_module import QueryModule, QueryParameters, QueryTables

SCHEMA_VERSION = 4
_STORED_NAMES = {"cold_user_query": "nobody"}  # fields whose names in the file differ
_BATCH_USERS = 128


@dataclass(frozen=True)
class LearntTitles:
    """Learnt parameters of the titles with positives in training; row n of each array is title `title_ids[n]`."""

    title_ids: NDArray[np.int64]
    counts: NDArray[np.int64]  # positives of each in training
    vectors: Floats  # [titles, dims], the candidate side
    tower: Floats  # [titles, dim of the towers], the history side from here on; see QueryTables
    linear: Floats  # [titles, dims]
    factors: Floats  # [titles, factors]


@dataclass(frozen=True)
class ModelCard:
    """Parameters of the model that are not arrays."""

    history_length: int  # a longer history is cut to its newest titles
    content_blocks: Mapping[str, float]  # that vectors of new titles are made from, with their weights
    countries: Sequence[str]  # in the order of their vocabulary ids
    cold: ColdRidge


@dataclass(frozen=True)
class Embedded:
    """Vectors and query tables of a whole catalogue, in its order."""

    vectors: Floats  # [titles, dims]
    tables: QueryTables


class TwoTower:
    """The trained model, as `load` reads it; `CatalogueModel` makes it a Recommender over one catalogue."""

    def __init__(self, titles: LearntTitles, query: QueryParameters, card: ModelCard) -> None:
        self._titles = titles
        self._query = query
        self.card = card
        self._embedded: tuple[Catalogue, Embedded] | None = None

    @property
    def dim(self) -> int:
        """Width of queries and vectors."""
        return self._titles.vectors.shape[1]

    @property
    def title_ids(self) -> NDArray[np.int64]:
        """[titles]: ids of the titles that the model was trained on."""
        return self._titles.title_ids

    @property
    def history_length(self) -> int:
        """Largest number of titles of a history that a query is computed from."""
        return self.card.history_length

    def title_vectors(self, catalogue: Catalogue) -> Floats:
        """[titles, dim] in the catalogue's order.

        Raises ModelError where the catalogue was read without a block of content that the model needs, or has none of
        the titles it was trained on.
        """
        return self._embed(catalogue).vectors

    def query_tower(self, catalogue: Catalogue) -> QueryModule:
        """The query tower, for histories of rows of `catalogue`; raises as `title_vectors` does."""
        return QueryModule(self._embed(catalogue).tables, self._query)

    def country_ids(self, countries: Sequence[str | None]) -> NDArray[np.int64]:
        """Vocabulary ids as the query tower takes them: 0 where not known, 1 for a country that training lacks."""
        ids = {country: n for n, country in enumerate(self.card.countries, start=2)}
        return np.array([0 if country is None else ids.get(country, 1) for country in countries], dtype=np.int64)

    def padded(self, evaluation_set: EvaluationSet) -> PaddedHistories:
        """The histories of an evaluation set as the query tower takes them: with weights, ages and countries."""
        countries = self.country_ids(evaluation_set.countries)
        return pad_newest_first(
            evaluation_set.weighted_histories, evaluation_set.history_ages_days, countries, self.history_length
        )

    def give_towers_to(self, network: TwoTowerNetwork, title_ids: NDArray[np.int64]) -> None:
        """Initialise the towers of `network`, whose rows are `title_ids` [titles], with the weights of this model.

        Titles and countries that this model has not seen keep the weights they have. Raises ModelError for towers of
        another width.
        """
        ids = network.titles.ids.numpy()
        if ids.shape[1] != self._titles.tower.shape[1]:
            raise ModelError(
                f"warm start: towers of {ids.shape[1]} dimensions can't begin with those of"
                f" {self._titles.tower.shape[1]}; set model.dim, or training.warm_start to false"
            )
        order = np.argsort(self._titles.title_ids)
        rows = order[np.searchsorted(self._titles.title_ids[order], title_ids).clip(max=len(order) - 1)]
        is_known = self._titles.title_ids[rows] == title_ids
        learnt = self._titles.tower[rows[is_known]]
        if network.titles.content is not None:
            # The model stores vectors alone: what content explains of them is content's, the rest the ids'.
            features = network.titles.content.numpy()[1:][is_known]
            of_content = np.linalg.lstsq(features, learnt, rcond=1e-6)[0]
            network.titles.of_content.assign(of_content)
            learnt = learnt - features @ of_content
        ids[1:][is_known] = learnt
        network.titles.ids.assign(ids)
        for name, learnt in self._query.tower.items():
            variable = getattr(network.query, name)
            if name == "countries":
                learnt = np.vstack([learnt, variable.numpy()[len(learnt) :]])
            variable.assign(learnt)

    def _embed(self, catalogue: Catalogue) -> Embedded:
        if self._embedded is None or self._embedded[0] is not catalogue:
            self._embedded = (catalogue, self._embed_anew(catalogue))
        return self._embedded[1]

    def learnt_vectors(self, catalogue: Catalogue) -> Floats:
        """[titles, dim] in the catalogue's order, as training left them; zeros for unseen titles."""
        return self._learnt(catalogue)[0][:, : self.dim]

    def _embed_anew(self, catalogue: Catalogue) -> Embedded:
        titles, cold = self._titles, self.card.cold
        learnt, counts = self._learnt(catalogue)
        widths = np.cumsum([part.shape[1] for part in (titles.vectors, titles.tower, titles.linear)])
        parts = vectors, tower, linear, factors = np.split(learnt, widths, axis=1)  # views of `learnt`
        liked, missing = np.flatnonzero(counts), np.flatnonzero(counts == 0)
        if len(missing) or cold.prior_likes > 0:
            rows = features(_blocks(catalogue.content, self.card.content_blocks))
            known, fitted = cold_ridge.fit(learnt, counts, rows, cold)
            if len(missing):
                learnt[missing] = cold_ridge.predict_new(fitted, select(rows, missing))
                vectors[missing] = cold_ridge.rescaled(vectors[missing], cold.scale, cold.length_power)
                lengths = np.linalg.norm(tower[missing], axis=1, keepdims=True)
                tower[missing] /= np.maximum(lengths, 1e-12)  # of length 1, as other titles'
            if cold.prior_likes > 0 and len(known) > 1:
                predicted = cold_ridge.predict_liked(known, fitted, liked, rows)
                for part, prior in zip(parts, np.split(predicted, widths, axis=1), strict=True):
                    part[liked] = cold_ridge.blend_with_prior(part[liked], prior, counts[liked], cold.prior_likes)
        return Embedded(vectors, QueryTables(tower, linear, factors))

    def _learnt(self, catalogue: Catalogue) -> tuple[Floats, NDArray[np.int64]]:
        """Learnt parameters [titles, width of all parts] and positives [titles] by catalogue row; 0 if unseen."""
        titles = self._titles
        rows = catalogue.rows(titles.title_ids)
        is_present = rows >= 0
        if not is_present.any():
            raise ModelError(f"the catalogue has none of the {len(rows)} titles that the model was trained on")
        learnt = np.hstack([titles.vectors, titles.tower, titles.linear, titles.factors])
        by_row = np.zeros((len(catalogue), learnt.shape[1]), dtype=np.float32)
        by_row[rows[is_present]] = learnt[is_present]
        counts = np.zeros(len(catalogue), dtype=np.int64)
        counts[rows[is_present]] = titles.counts[is_present]
        return by_row, counts

    def recommend_learnt(self, title_ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """[batch, count]: ids of learnt titles for histories of `title_ids` [batch, length], of which -1 is padding.

        Titles of the history are left out; lists with fewer titles left end in -1. No catalogue is needed: vectors are
        as training left them, without the ridge from content.
        """
        titles = self._titles
        order = np.argsort(titles.title_ids)
        nearest = order[np.searchsorted(titles.title_ids[order], title_ids).clip(max=len(order) - 1)]
        rows = np.where(titles.title_ids[nearest] == title_ids, nearest + 1, 0)
        likes = (rows > 0).astype(np.float32)
        query = QueryModule(QueryTables(titles.tower, titles.linear, titles.factors), self._query)
        queries = query(rows, likes, np.zeros_like(likes), np.zeros(len(rows), dtype=np.int64)).numpy()
        scores = queries @ titles.vectors.T
        users, columns = np.nonzero(rows)
        scores[users, rows[users, columns] - 1] = -np.inf
        lists = top_titles(scores, count)
        return np.where(lists == NO_TITLE, -1, titles.title_ids[lists])

    def save(self, folder: Path) -> None:
        """Write `arrays.npz` and `model.json` into `folder`, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"titles.{field.name}": getattr(self._titles, field.name) for field in fields(LearntTitles)}
        numbers = {}
        for name, value in vars(self._query).items():
            if name == "tower":
                arrays |= {f"tower.{part}": weights for part, weights in value.items()}
            elif isinstance(value, np.ndarray):
                arrays[f"query.{_STORED_NAMES.get(name, name)}"] = value
            else:
                numbers[name] = dict(value) if isinstance(value, Mapping) else value
        np.savez(folder / "arrays.npz", **arrays)
        content = {"schema_version": SCHEMA_VERSION, "card": asdict(self.card), "query": numbers}
        (folder / "model.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TwoTower":
        """Read the model that `save` wrote. Raises ModelError for a folder without one, or with another schema."""
        try:
            content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
                arrays: dict[str, Any] = dict(stored)
        except (OSError, ValueError, BadZipFile) as error:
            raise ModelError(f"{folder}: no model can be read here: {error}") from error
        if content["schema_version"] != SCHEMA_VERSION:
            raise ModelError(
                f"{folder}: a model of schema {content['schema_version']}, but this version reads {SCHEMA_VERSION}"
            )
        parts = {prefix: _with_prefix(arrays, prefix) for prefix in ("titles.", "tower.", "query.")}
        card = ModelCard(**{**content["card"], "cold": ColdRidge(**content["card"]["cold"])})
        renamed = {name: parts["query."].pop(stored) for name, stored in _STORED_NAMES.items()}
        query = QueryParameters(tower=parts["tower."], **parts["query."], **renamed, **content["query"])
        return cls(LearntTitles(**parts["titles."]), query, card)


class CatalogueModel:
    """A trained model over one catalogue, as a Recommender: scores are those of the query tower it exports."""

    def __init__(self, model: TwoTower, catalogue: Catalogue) -> None:
        self._model = model
        self.vectors = model.title_vectors(catalogue)
        self._query = model.query_tower(catalogue)

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        """Raises ValueError: the model is trained already."""
        raise ValueError("a registered model is trained by models.train, not here")

    def score(self, histories: sparse.csr_matrix) -> Scores:
        """[users, titles] for histories without ages and countries: all titles of age 0, the country not known."""
        return self.score_padded(pad_newest_first(histories, None, None, self._model.history_length))

    def recommend_for(self, evaluation_set: EvaluationSet, count: int) -> Ids:
        """[users, count] for the users of an evaluation set, with the ages of their histories and their countries."""
        padded = self._model.padded(evaluation_set)
        return recommend_by(
            lambda users: self.score_padded(padded.part(users)),
            *(evaluation_set.histories, count, evaluation_set.candidates, evaluation_set.ignored),
        )

    def score_padded(self, histories: PaddedHistories) -> Scores:
        """[users, titles]."""
        return self.queries(histories) @ self.vectors.T

    def queries(self, histories: PaddedHistories) -> Floats:
        """[users, dims]."""
        batches = [
            self._query(part.rows, part.weights, part.ages_days, part.countries).numpy()
            for part in histories.batches(_BATCH_USERS)
        ]
        return np.concatenate(batches) if batches else np.empty((0, self._model.dim), dtype=np.float32)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of vectors."""
        return nearest_by_cosine(self.vectors.astype(np.float64), row, count)


def _blocks(content: Content, weights: Mapping[str, float]) -> Content:
    lacking = [name for name in weights if name not in content.blocks]
    if lacking:
        raise ModelError(f"the catalogue was read without content {lacking}, which the model was trained with")
    return content.only(weights)


def _with_prefix(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
