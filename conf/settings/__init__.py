"""Every value a run depends on, as one frozen, typed object: `Settings`, one module per area.

`conf/local.yaml` holds all of it. Any other file given by `--conf` holds overrides only and is laid over it, and
`--set key.path=value` is laid over both. Keys carry their units. Start with root.py; conf/loader.py reads the files.
"""

from conf.settings.baselines import Baselines
from conf.settings.content import ContentBlock
from conf.settings.evaluation import Evaluation
from conf.settings.features import Examples, MinCounts, Posters, Text, TextField, TitleFeatures
from conf.settings.gating import Gate
from conf.settings.indexing import Dial, Index
from conf.settings.root import Settings, with_changes
from conf.settings.section import Section
from conf.settings.serving import Serving
from conf.settings.simulation import Simulate
from conf.settings.staging import Interactions, Staging
from conf.settings.training import PositionBias, Training

__all__ = [
    "Baselines",
    "ContentBlock",
    "Dial",
    "Evaluation",
    "Examples",
    "Gate",
    "Index",
    "Interactions",
    "MinCounts",
    "PositionBias",
    "Posters",
    "Section",
    "Serving",
    "Settings",
    "Simulate",
    "Staging",
    "Text",
    "TextField",
    "TitleFeatures",
    "Training",
    "with_changes",
]
