"""Historical nights: the positives known by the end of a night, those that followed, and a model of that night.

A positive is known from the day on which the lake received it, so late events are late here, too. Titles' metadata is
the current one, since the lake keeps no earlier versions.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import WriterProperties, write_deltalake
from numpy.typing import NDArray
from scipy import sparse

from conf.settings import Settings, with_changes
from lake.arrays import NO_TITLE
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.data.catalogue import Catalogue, read_catalogue, read_token_names
from models.data.model_tables import TRAINING_TABLES
from models.data.padded_histories import pad_newest_first
from models.data.positives import Positives, positives_of
from models.debiasing.click_ranks import ClickRanks, read_click_ranks
from models.evaluation.evaluation_set import EvaluationSet, without_known
from models.fit import training
from models.fit.inputs import Inputs
from models.towers.legacy_keras import keras

_EPOCH = date(1970, 1, 1)
_POSITIVE = ("user_id", "title_id", "event_time", "country")


@dataclass(frozen=True)
class InteractionLog:
    """All positives of a lake, of all splits, as rows of training_examples."""

    catalogue: Catalogue
    countries: list[str]
    rows: pa.Table  # of _POSITIVE and known_ds
    ranks: ClickRanks

    def known_by(self, night: date) -> Positives:
        """The positives known at the end of a night."""
        return positives_of(self.rows.filter(pc.less_equal(self.rows["known_ds"], pa.scalar(night))), self.catalogue)

    def evaluation_set_after(self, night: date, horizon_days: int, known: Positives) -> EvaluationSet | None:
        """The positives of the `horizon_days` after a night, queried at its end; None without positives.

        Candidates are titles released by the last of these days, or without a known date. Positives of other titles and
        pairs among `known` are left out.
        """
        end = day_number(night) + 1.0
        moments = self.rows["event_time"].cast(pa.int64()).to_numpy() / 86_400e6
        is_later = (moments >= end) & (moments < end + horizon_days)
        later = positives_of(self.rows.filter(pa.array(is_later)), self.catalogue)
        candidates = self.catalogue.is_listed & ~(self.catalogue.release_days >= end + horizon_days)
        days = known.days_of(later.user_ids)
        histories = sparse.csr_matrix((np.ones(days.nnz, np.float32), days.indices, days.indptr), shape=days.shape)
        relevant, kept = without_known(later.liked, histories, candidates)
        users = np.flatnonzero(np.diff(relevant.indptr))
        if not len(users):
            return None
        history_days = days[users]
        return EvaluationSet(
            name=f"after {night}",
            user_ids=[later.user_ids[n] for n in users.tolist()],
            countries=[later.countries[n] for n in users.tolist()],
            histories=histories[users],
            history_ages_days=end - history_days.data,
            relevant=relevant[users],
            ignored=sparse.csr_matrix((len(users), len(self.catalogue)), dtype=np.float32),
            ages_days=np.floor(later.days[kept]) - self.catalogue.release_days[later.liked.indices[kept]],
            candidates=candidates,
        )


def read_interaction_log(settings: Settings) -> InteractionLog:
    """The interaction log of a lake, at the newest versions of its tables."""
    snapshot = LakeSnapshot.pin(settings.lake.root, TRAINING_TABLES)
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    rows = snapshot.read("training_examples", (*_POSITIVE, "known_ds"))
    countries = read_token_names(snapshot, "country")
    return InteractionLog(catalogue, countries, rows, read_click_ranks(snapshot))


def train_night(
    settings: Settings, interactions: InteractionLog, night: date, known: Positives, warm_start: TwoTower | None
) -> TwoTower:
    """A model trained on what was known at the end of a night; its towers start from those of `warm_start`, if given.

    All epochs are trained, since nothing is held back for early stopping. Histories hold positives only, at weight 1.
    """
    if warm_start:
        settings = with_changes(settings, {"training.epochs": settings.training.warm_start_epochs})
    ranks = interactions.ranks.until(day_number(night))
    with TemporaryDirectory(prefix="marquee-night-") as folder:
        snapshot = LakeSnapshot(folder, {"training_users": 0})
        inputs = Inputs.of(settings, snapshot, interactions.catalogue, known, interactions.countries, ranks)
        _write_users(settings, Path(folder), inputs, day_number(night) + 1.0)
        model = training.train_model(settings, inputs, Path(folder) / "checkpoints", lambda result: None, warm_start)
    keras.backend.clear_session()  # otherwise the graphs of all nights stay in memory
    return model


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def _write_users(settings: Settings, folder: Path, inputs: Inputs, moment: float) -> None:
    """Write training_users as of `moment`: one row per user with the history."""
    train, length = inputs.train, settings.examples.user_history_titles
    padded = pad_newest_first(train.liked, moment - train.days, None, length)
    titles = np.where(padded.rows > 0, inputs.catalogue.title_ids[padded.rows - 1], NO_TITLE)
    columns = {
        "user_id": train.user_ids,
        "country": train.countries,
        "history_title_ids": _lists(titles),
        "history_weights": _lists(padded.weights),
        "history_ages_days": _lists(padded.ages_days),
    }
    properties = WriterProperties(max_row_group_size=settings.examples.rows_per_group)
    write_deltalake(str(folder / "training_users"), pa.table(columns), writer_properties=properties)


def _lists(values: NDArray[np.generic]) -> pa.Array:
    """A column of lists of one length, of `values` [rows, length]."""
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()))
