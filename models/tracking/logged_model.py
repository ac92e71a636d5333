"""The model as MLflow serves it: histories of title ids in, recommended title ids out.

MLflow runs this file when it loads the model as a pyfunc. The project itself loads the arrays beside it, by TwoTower.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from models.blend.two_tower import TwoTower
from models.tracking.registry import FOLDER

_COUNT = 20


class LoggedModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Recommends among the titles it was trained on; the bundle serves the whole catalogue."""

    def load_context(self, context: Any) -> None:
        self._model = TwoTower.load(Path(context.artifacts[FOLDER]))

    # Without annotations, which MLflow would take for a schema beside the signature.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """int64 [batch, 20] for `history_title_ids` [batch, length], the newest first, padded with -1."""
        return self._model.recommend_learnt(np.asarray(model_input["history_title_ids"]), _COUNT)


mlflow.models.set_model(LoggedModel())
