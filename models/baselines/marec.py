"""MARec: EASE with a regression aligned to predictions of likes from content, so that cold titles get columns too.

Source: Monteil et al. 2024, MARec: Metadata alignment for cold-start recommendation (arXiv 2404.13298), with EASE as
the backbone, as the authors' notebooks compute it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from lake.arrays import Ids
from models.data.content import Content
from models.linear.cold_users import is_among, serve_cold_users
from models.linear.content_kernel import Features, features, inner_products, select, squared_lengths
from models.linear.ease import Weights, ridge_inverse, titles_to_use, weights_of_inverse
from models.linear.nearest import nearest_by_cosine
from models.linear.positive_counts import check_same_titles, count_positives, mean_history
from models.recommender import Scores

_BATCH_USERS = 128


class Marec:
    """Scores are history · B, in closed form, with likes X [users, titles] and blocks of content F_k:

    1. G_k [titles, titles]: the cosine of F_k's rows with `smoothing` added to the product of their lengths, and 0 for
       a title with itself. Rows are centred and scaled to root mean square length 1.
    2. mu: the coefficients of a linear regression, with intercept, of X's entries on those of X G_k; a like weighs 1,
       every other entry `unliked_weight`.
    3. X~ = Σ_k mu_k X G_k: likes as content predicts them, without the intercept.
    4. D: diagonal, `alignment` · (1 - count / p) where count < p and 0 elsewhere; p is the `cold_percentile` of all
       titles' counts of likes, 1 at least. So titles with enough likes are not aligned.
    5. P = (XᵀX + regularization · I + XᵀX~ D)⁻¹ and B = I - P · diag(1 / diag(P)), of zero diagonal.

    A cold title has no row in XᵀX nor in XᵀX~, so its column is the regression of D X~ on the likes of warm titles:
    (XᵀX + regularization · I + XᵀX~ D)⁻¹ XᵀX~ D over warm titles, computed so; the result is that of step 5 over all.

    Differences from the paper and its notebooks:
    - Blocks are centred in step 1, where the notebooks take counts and TF-IDF as they are. A number such as the year
      is a block like others, where they take 1 - |difference|.
    - mu is learnt on warm titles alone, where the notebooks count all entries of cold ones as unliked.
    - The paper's alpha, which multiplies X~, and beta, which multiplies D, are one factor, `alignment`, since only
      their product matters.
    - As in the notebooks for EASE, the paper's further term lambda_0 FᵀF in P, products of similarities in X~ and
      embeddings that are learnt are left out.

    A history's cold titles add nothing to scores; a user with no others gets the mean of the training users' scores.
    Memory: some five matrices in float64 [titles used, titles] while fitting, and one in float32 [titles used, titles
    used] for each block; one of the former to keep.
    """

    def __init__(
        self,
        regularization: float,
        alignment: float,
        max_titles: int,
        most_liked_only: int | None = None,
        smoothing: float = 20.0,  # the notebooks' values for MovieLens, as the next two
        cold_percentile: float = 10.0,
        unliked_weight: float = 0.2,
    ) -> None:
        """`max_titles` and `most_liked_only` are those of Ease; titles left out have columns as cold ones have."""
        self._regularization = regularization
        self._alignment = alignment
        self._max_titles = max_titles
        self._most_liked_only = most_liked_only
        self._smoothing = smoothing
        self._cold_percentile = cold_percentile
        self._unliked_weight = unliked_weight

    def fit(self, positives: sparse.csr_matrix, content: Content) -> None:
        """Raises ValueError for more titles than `max_titles`, as Ease does."""
        check_same_titles(positives, content)
        counts = count_positives(positives)
        self._used = titles_to_use(counts, self._max_titles, self._most_liked_only)
        self._is_used = is_among(self._used, positives.shape[1])
        used_positives = sparse.csr_matrix(positives[:, self._used], dtype=np.float64)
        coldness = self._alignment * cold_weights(counts, self._cold_percentile)
        products = (used_positives.T @ used_positives).toarray()
        aligned = products @ self._similarities(used_positives, content) * coldness  # XᵀX~ D [titles used, titles]
        inverse = ridge_inverse(products + aligned[:, self._used], self._regularization)
        columns = inverse @ aligned  # [titles used, titles]
        columns[:, self._used] = weights_of_inverse(inverse)
        self._columns = columns
        self._cold_user_scores = (mean_history(used_positives) @ columns).astype(np.float32)

    def score(self, histories: sparse.csr_matrix) -> Scores:
        scores = (histories[:, self._used] @ self._columns).astype(np.float32)
        return serve_cold_users(scores, histories, self._is_used, self._cold_user_scores)

    def similar_titles(self, row: int, count: int) -> Ids:
        """By the cosine of columns: titles recommended for the same likes."""
        return nearest_by_cosine(self._columns.T, row, count)

    def _similarities(self, used_positives: sparse.csr_matrix, content: Content) -> Weights:
        """Σ_k mu_k G_k [titles used, titles]."""
        # The regression needs all blocks at once, but only titles used; all titles are computed block by block.
        warm = [cosines[:, self._used].astype(np.float32) for cosines in self._similarities_by_block(content)]
        weights = block_weights(used_positives, warm, self._unliked_weight)
        summed = np.zeros((len(self._used), content.count_titles))
        for weight, similarities in zip(weights, self._similarities_by_block(content), strict=True):
            summed += weight * similarities
        return summed

    def _similarities_by_block(self, content: Content) -> Iterator[Weights]:
        for name, block in content.blocks.items():
            rows = features(Content({name: block}, {name: content.present[name]}))
            yield smoothed_cosines(rows, self._used, self._smoothing)


def smoothed_cosines(rows: Features, titles: Ids, smoothing: float) -> Weights:
    """G_k [`titles`, all rows]: inner product / (product of lengths + `smoothing`); 0 between a title and itself."""
    lengths = np.sqrt(squared_lengths(rows))
    cosines = inner_products(select(rows, titles), rows) / (np.outer(lengths[titles], lengths) + smoothing)
    cosines[np.arange(len(titles)), titles] = 0
    return cosines


def block_weights(
    likes: sparse.csr_matrix, similarities: Sequence[NDArray[np.float32]], unliked_weight: float
) -> NDArray[np.float64]:
    """mu [blocks] of step 2, for `likes` [users, titles] and the `similarities` [titles, titles] of each block.

    Where blocks are alike several solutions exist; the one with the smallest coefficients is taken.
    """
    count = len(similarities) + 1
    products, sums = np.zeros((count, count)), np.zeros(count)
    for start in range(0, likes.shape[0], _BATCH_USERS):
        batch = likes[start : start + _BATCH_USERS]
        targets = batch.toarray().ravel()
        predictors = np.stack([*((batch @ matrix).ravel() for matrix in similarities), np.ones_like(targets)])
        weighted = predictors * np.where(targets > 0, 1, unliked_weight)
        products += weighted @ predictors.T
        sums += weighted @ targets
    return linalg.lstsq(products, sums)[0][:-1]


def cold_weights(counts: Ids, percentile: float) -> NDArray[np.float64]:
    """[titles] of step 4, less `alignment`: from 1 for a cold title down to 0 where likes reach the percentile."""
    enough = max(float(np.percentile(counts, percentile)), 1.0)
    return np.maximum(1 - counts / enough, 0)
