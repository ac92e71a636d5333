"""Content as one matrix of features per title, for the title tower."""

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from lake.arrays import Floats
from models.data.content import Block, Content

_MAX_WIDTH = 128  # wider blocks, such as one column per person, are reduced to their main directions


def content_features(content: Content, seed: int) -> Floats:
    """[titles, features]: all blocks side by side, each centred and scaled to a mean square length of its weight.

    A title that lacks a block has zeros there, which is the mean. The weights are in proportion to those of `content`,
    and sum to 1.
    """
    weights = {name: content.weights.get(name, 1.0) for name in content.blocks}
    total = sum(weights.values())
    scaled = []
    for name, block in content.blocks.items():
        values, is_present = _narrow(block, seed), content.present[name][:, None]
        count = max(int(is_present.sum()), 1)
        values = np.where(is_present, values - values.sum(axis=0, where=is_present) / count, 0)
        square = np.square(values).sum() / count
        scaled.append(values * np.sqrt(weights[name] / total / square) if square > 1e-12 else values)
    return np.hstack(scaled).astype(np.float32)


def _narrow(block: Block, seed: int) -> Floats:
    if block.shape[1] > _MAX_WIDTH:
        # Rare columns weigh more, as words do: sharing a person of three films says more than one of three hundred.
        counts = np.maximum(np.asarray((block != 0).sum(axis=0)).ravel(), 1)
        weighted = block @ sparse.diags(np.log(block.shape[0] / counts).astype(np.float32))
        width = min(_MAX_WIDTH, min(block.shape) - 1)
        left, values, _ = randomized_svd(weighted, width, random_state=seed)
        return np.asarray(left * values, dtype=np.float32)
    return np.asarray(block if isinstance(block, np.ndarray) else block.toarray(), dtype=np.float32)
