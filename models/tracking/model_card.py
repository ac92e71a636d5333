"""Model card of a version: data, training, intended use."""

from collections.abc import Sequence

from conf.settings import Settings
from models.blend.two_tower import TwoTower
from models.fit.epochs import EpochResult
from models.fit.inputs import Inputs
from models.fit.network import loss_for


def write_card(settings: Settings, inputs: Inputs, model: TwoTower, results: Sequence[EpochResult]) -> str:
    """Markdown, after Mitchell et al. 2019, Model cards for model reporting."""
    weights = settings.model.weights
    count_titles, count_warm = len(inputs.catalogue), len(inputs.warm)
    tables = "\n".join(f"- `{table}` version {version}" for table, version in sorted(inputs.snapshot.versions.items()))
    return f"""# Marquee, the title recommender

## What it is
One vector of {model.dim} dimensions for a title and for a history; their inner product is the score. Parts: two towers
({settings.model.dim} dimensions, {loss_for(settings, count_warm)}), weight {weights.towers:g};
EASE, weight {weights.ease:g}; content of liked titles, weight {weights.content:g}; ALS, weight
{weights.als:g}. Vectors of titles without likes are predicted from content ({", ".join(settings.content.blocks)}) by
kernel ridge regression; for other titles the prediction counts as {settings.model.cold_start.prior_likes:g} likes.

## What it was trained on
{inputs.train.liked.nnz:,} likes by {inputs.train.liked.shape[0]:,} users of {count_warm:,} titles, out of
{count_titles:,} in the catalogue. SHA-256 of the likes: `{inputs.data_hash}`.
{tables}

## How it was trained
Seed {settings.seed}, {settings.training.epochs} epochs at most; {_course(results)}

## Intended use, and limits
Recommending titles of a streaming guide to its users by their likes there. All it knows of a user are titles,
their ages and a country; it must not be used to infer traits of users. The data has no likes for titles that
users were never shown: see the evaluation by segment in the same run.
"""


def _course(results: Sequence[EpochResult]) -> str:
    if not results:
        return "all of them were trained before this start."
    last = results[-1]
    measured = [result.validation for result in results if result.validation is not None]
    best = f", best NDCG@20 on held-back positives {max(measured):.4f}" if measured else ", nothing was held back"
    return f"the last was the {last.epoch + 1}th, loss {last.loss:.4f}{best}."
