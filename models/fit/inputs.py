"""Inputs of a training, read from pinned tables."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Settings
from lake.arrays import Floats
from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue, read_catalogue, read_token_names
from models.data.positives import Positives, read_positives
from models.debiasing.click_ranks import ClickRanks, read_click_ranks
from models.debiasing.title_weights import debiased_popularity, title_weights
from models.errors import ModelError
from models.evaluation import evaluation_set
from models.evaluation.evaluation_set import EvaluationSet


@dataclass(frozen=True)
class Inputs:
    """Data of a training. The model's rows are the `warm` titles, which have positives."""

    snapshot: LakeSnapshot
    catalogue: Catalogue
    train: Positives
    countries: Sequence[str]
    warm: NDArray[np.int64]  # rows of the catalogue
    title_weights: Floats | None  # [titles], of a like in the loss; all 1 where None
    debiased_popularity: Floats  # [titles]
    held_back: EvaluationSet | None  # for early stopping

    @classmethod
    def of(
        cls,
        settings: Settings,
        snapshot: LakeSnapshot,
        catalogue: Catalogue,
        train: Positives,
        countries: Sequence[str],
        ranks: ClickRanks,
        held_back: EvaluationSet | None = None,
    ) -> Self:
        """Inputs from positives in `train`, with weights and popularity corrected by the clicks in `ranks`."""
        positive_counts = np.bincount(train.liked.indices, minlength=len(catalogue))
        weights = title_weights(ranks, catalogue, positive_counts, settings.position_bias)
        popularity = debiased_popularity(ranks, catalogue, positive_counts, settings.position_bias)
        warm = np.flatnonzero(positive_counts)
        return cls(snapshot, catalogue, train, countries, warm, weights, popularity, held_back)

    @property
    def title_ids(self) -> NDArray[np.int64]:
        """[warm titles]."""
        return self.catalogue.title_ids[self.warm]

    @property
    def positive_counts(self) -> NDArray[np.int64]:
        """[warm titles]."""
        return np.bincount(self.positives.indices, minlength=len(self.warm))

    @property
    def data_hash(self) -> str:
        """SHA-256 of positives by ids and of their weights: equal for equal data, however it is split into files."""
        digest = hashlib.sha256("\n".join(self.train.user_ids).encode())
        for values in (self.catalogue.title_ids, self.train.liked.indptr, self.train.liked.indices, self.train.days):
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
        for weights in (self.title_weights, self.debiased_popularity):
            if weights is not None:
                digest.update(np.ascontiguousarray(weights, dtype="<f8").tobytes())
        return digest.hexdigest()

    @property
    def positives(self) -> sparse.csr_matrix:
        """[users, warm titles]."""
        return self.train.liked[:, self.warm].tocsr()


def read_inputs(settings: Settings, snapshot: LakeSnapshot) -> Inputs:
    """Inputs from the tables of `snapshot`. Raises ModelError where no title has a positive."""
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    if not train.liked.nnz:
        raise ModelError(f"{snapshot.describe('training_examples')}: nothing to train on")
    # Clicks of days that are held out must not decide weights.
    click_ranks = read_click_ranks(snapshot).until(np.floor(train.days.max()))
    countries = read_token_names(snapshot, "country")
    splits = snapshot.splits("training_examples")
    held_back = evaluation_set.of_split(snapshot, "validation", catalogue) if "validation" in splits else None
    return Inputs.of(settings, snapshot, catalogue, train, countries, click_ranks, held_back)
