"""Metrics of recommendation lists: exact over the whole catalogue, one value per user where the metric allows it.

To add a metric, write it here and register it in models/evaluation/metric_registry.py.

`recommended` [users, k_max] holds rows of titles, best first, as `recommender.recommend` returns them: a list with
fewer titles is padded with NO_TITLE at its end. `relevant` [users, titles] holds the held-out positives; row n of both
is the same user. Only the first `k` columns are read; where `k_max` is below `k`, the lists end there.

Metrics against positives are defined for every user, and 0 for an empty list: a miss. Metrics of a list alone (novelty,
diversity, …) are NaN where the list does not define them. Every function raises ValueError for malformed lists: a title
twice, a row outside the catalogue, a title after NO_TITLE.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from lake.arrays import NO_TITLE, Ids
from models.data.content import Block

PerUser: TypeAlias = NDArray[np.float64]

# As in Steck 2018: small, so that the smoothed distribution stays near that of the list.
STECK_ALPHA = 0.01


def recall_at_k(recommended: Ids, relevant: sparse.csr_matrix, k: int) -> PerUser:
    """[users], from 0 to 1: hits among the first `k` / the user's positives.

    Not divided by min(k, positives): a user of 30 positives cannot exceed 20 / 30 at k = 20.
    Source: Herlocker et al. 2004, Evaluating collaborative filtering recommender systems.
    """
    return _hits(recommended, relevant, k).sum(axis=1) / _count_positives(relevant)


def ndcg_at_k(recommended: Ids, relevant: sparse.csr_matrix, k: int) -> PerUser:
    """[users], from 0 to 1: Σ over hits of 1 / log2(rank + 1), divided by that sum for ranks 1 to min(k, positives).

    Ranks count from 1 and gains are binary. Source: Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR
    techniques, with the discount of Burges et al. 2005, Learning to rank using gradient descent.
    """
    hits = _hits(recommended, relevant, k)
    ideals = np.cumsum(_rank_discounts(k))
    return (hits @ _rank_discounts(hits.shape[1])) / ideals[np.minimum(_count_positives(relevant), k) - 1]


def mrr_at_k(recommended: Ids, relevant: sparse.csr_matrix, k: int) -> PerUser:
    """[users], from 0 to 1: 1 / rank of the first hit among the first `k`, 0 without one; its mean is the MRR.

    Source: Voorhees 1999, The TREC-8 question answering track report.
    """
    hits = _hits(recommended, relevant, k)
    return np.max(hits / np.arange(1, hits.shape[1] + 1), axis=1, initial=0.0)


def novelty_at_k(recommended: Ids, count_positives: NDArray[np.int64], count_users: int, k: int) -> PerUser:
    """[users], in bits: the mean self-information -log2 p(title) of the first `k`; NaN for an empty list.

    `count_positives` [titles] counts the training users, of `count_users`, who liked a title. p is
    (count + 1) / (users + 1), as if one more user had liked every title: 0 bits for a title liked by all,
    log2(users + 1) for one liked by none. Raises ValueError for a title with more positives than users.
    Source: Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma of recommender systems, for p without + 1.
    """
    most = int(count_positives.max(initial=0))
    if most > count_users:
        raise ValueError(f"count_positives: a title has {most} positives of {count_users} users; expected one a user")
    return _mean_over_lists(recommended, -np.log2((count_positives + 1) / (count_users + 1)), k)


def mean_popularity_at_k(recommended: Ids, count_positives: NDArray[np.int64], k: int) -> PerUser:
    """[users], in training positives: the mean of `count_positives` [titles] over the first `k`; NaN for an empty list.

    Source: Yin et al. 2012, Challenging the long tail recommendation.
    """
    return _mean_over_lists(recommended, count_positives.astype(np.float64), k)


def cold_share_at_k(recommended: Ids, count_positives: NDArray[np.int64], k: int) -> PerUser:
    """[users], from 0 to 1: the share of titles without training positives in the first `k`; NaN for an empty list."""
    return _mean_over_lists(recommended, (count_positives == 0).astype(np.float64), k)


def diversity_at_k(recommended: Ids, content: Block, k: int) -> PerUser:
    """[users], from 0 to 2: the mean of 1 - cosine over all pairs of titles among the first `k`.

    `content` [titles, columns] is dense or sparse. A title without content, a row of zeros, is in no pair. NaN where
    fewer than two titles of a list have content.
    Source: Ziegler et al. 2005, Improving recommendation lists through topic diversification (intra-list
    similarity), here its complement with the cosine as similarity and the mean over pairs.
    """
    top = _top(recommended, k, content.shape[0])
    titles, columns = np.unique(top[top != NO_TITLE], return_inverse=True)
    vectors = content[titles]
    norms = _row_norms(vectors)
    has_content = norms > 0
    units = sparse.diags(_divide(np.ones(len(titles)), norms, otherwise=0.0)) @ vectors
    lists = _list_matrix(top, columns, np.ones(top.shape[1]), len(titles))
    # A sum of m unit vectors has the squared length m + twice the sum of their cosines: no pair is looked at alone.
    count = lists @ has_content.astype(np.float64)
    cosine = _divide(_row_norms(lists @ units) ** 2 - count, count * (count - 1))
    # Rounding may take lists of equal vectors past the ends.
    return np.clip(1 - cosine, 0, 2)


def calibration_at_k(
    recommended: Ids, histories: sparse.csr_matrix, genres: Block, k: int, alpha: float = STECK_ALPHA
) -> PerUser:
    """[users], in nats, from 0 (best) to -ln(alpha): divergence of the genres of the list from those of the history.

    C_KL = Σ_g p(g|u) · ln(p(g|u) / q̃(g|u)), with q̃ = (1 - alpha) · q + alpha · p. `genres` [titles, genres] is non-zero
    where a title has a genre; its genres share its weight equally. In p a title weighs its value in `histories`
    [users, titles], 1 where liked; in q the title at rank r weighs 1 / log2(r + 1), the weights of nDCG, one of the two
    choices in the paper. Titles without genre are left out of both.
    NaN for a user whose list, or whose history, has no title with a genre.
    Source: Steck 2018, Calibrated recommendations, section 3, equations 2 to 5.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a number between 0 and 1, found {alpha}")
    _check_rows(recommended, histories, "histories")
    top = _top(recommended, k, histories.shape[1])
    # [titles, genres]
    shares = _row_shares((sparse.csr_matrix(genres) != 0).toarray().astype(np.float64), otherwise=0.0)
    lists = _list_matrix(top, top[top != NO_TITLE], _rank_discounts(top.shape[1]), histories.shape[1])
    liked = _row_shares(histories @ shares)  # [users, genres]
    smoothed = (1 - alpha) * _row_shares(lists @ shares) + alpha * liked
    divergence = np.sum(liked * np.log(_divide(liked, smoothed, otherwise=1.0, where=liked > 0)), axis=1)
    # Rounding may take a list of the history's own genres below 0.
    return np.where(np.isnan(smoothed).any(axis=1), np.nan, np.maximum(divergence, 0))


def coverage_at_k(recommended: Ids, candidates: NDArray[np.bool_], k: int) -> float:
    """From 0 to 1: the share of candidate titles that are among the first `k` of at least one user.

    `candidates` [titles] marks titles that may be recommended. Raises ValueError for a recommended title that is no
    candidate, and where there is no candidate. Source: Ge et al. 2010, Beyond accuracy (catalogue coverage).
    """
    return float(np.mean(_count_recommended(recommended, candidates, k) > 0))


def gini_at_k(recommended: Ids, candidates: NDArray[np.bool_], k: int) -> float:
    """Gini coefficient of recommendations, from 0, all candidates recommended equally often, to 1, one title alone.

    G = 1 / (n - 1) · Σ_j (2j - n - 1) · p_j, where p_1 ≤ … ≤ p_n are the shares of the n candidates in all
    recommendations, including candidates never recommended. Lists of `k` titles reach (n - k) / (n - 1) at most. 0 for
    a single candidate; NaN where nothing was recommended. `candidates` [titles] and errors are those of
    `coverage_at_k`.
    Source: Shani and Gunawardana 2011, Evaluating recommendation systems (item space coverage).
    """
    counts = np.sort(_count_recommended(recommended, candidates, k))
    n = len(counts)
    if counts[-1] == 0:
        return float("nan")
    ranks = np.arange(1, n + 1)
    return float((2 * ranks - n - 1) @ (counts / counts.sum()) / max(n - 1, 1))


def check_positives(relevant: sparse.csr_matrix) -> None:
    """Raise ValueError where a user of `relevant` [users, titles] has no positives or an entry is duplicated or 0."""
    if not relevant.has_canonical_format or not np.all(relevant.data):
        raise ValueError("relevant: holds a pair twice, out of order or as 0; call eliminate_zeros, sum_duplicates")
    without = np.flatnonzero(np.diff(relevant.indptr) == 0)
    if len(without):
        raise ValueError(
            f"relevant: {len(without)} of {relevant.shape[0]} users have no positives, the first is row {without[0]}; "
            "select the rows of users that have some"
        )


def _count_positives(relevant: sparse.csr_matrix) -> NDArray[np.int64]:
    return np.diff(relevant.indptr).astype(np.int64)


def _hits(recommended: Ids, relevant: sparse.csr_matrix, k: int) -> NDArray[np.bool_]:
    """[users, k]: True where the title at a rank is a positive of the user."""
    _check_rows(recommended, relevant, "relevant")
    check_positives(relevant)
    top = _top(recommended, k, relevant.shape[1])
    hits = np.zeros(top.shape, dtype=np.bool_)
    rows, ranks = np.nonzero(top != NO_TITLE)
    if len(rows):  # SciPy answers an empty selection with a matrix of another kind
        hits[rows, ranks] = np.asarray(relevant[rows, top[rows, ranks]]).ravel() != 0
    return hits


def _top(recommended: Ids, k: int, count_titles: int) -> Ids:
    """[users, min(k, k_max)]: the first columns, validated."""
    if k < 1:
        raise ValueError(f"k: expected 1 or more, found {k}")
    if recommended.ndim != 2 or not np.issubdtype(recommended.dtype, np.integer):
        raise ValueError(
            f"recommended: expected integers [users, k_max], found {recommended.dtype} of shape {recommended.shape}"
        )
    top = recommended[:, :k]
    is_title = top != NO_TITLE
    if np.any((top < NO_TITLE) | (top >= count_titles)):
        raise ValueError(
            f"recommended: expected rows of titles below {count_titles} or {NO_TITLE}, found {top.min()} to {top.max()}"
        )
    _refuse(is_title[:, 1:] & ~is_title[:, :-1], f"a title after {NO_TITLE}, which only pads the end")
    ordered = np.sort(top, axis=1)
    _refuse((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_TITLE), "a title twice")
    return top


def _refuse(is_wrong: NDArray[np.bool_], reason: str) -> None:
    rows = np.flatnonzero(is_wrong.any(axis=1))
    if len(rows):
        raise ValueError(f"recommended: {len(rows)} rows have {reason}; the first is row {rows[0]}")


def _check_rows(recommended: Ids, matrix: sparse.csr_matrix, name: str) -> None:
    if len(recommended) != matrix.shape[0]:
        raise ValueError(
            f"recommended has {len(recommended)} rows and {name} {matrix.shape[0]}; expected the same users"
        )


def _rank_discounts(count: int) -> NDArray[np.float64]:
    """[count]: 1 / log2(rank + 1) of the ranks from 1."""
    return 1 / np.log2(np.arange(2, count + 2))


def _mean_over_lists(recommended: Ids, values: NDArray[np.float64], k: int) -> PerUser:
    """[users]: the mean of `values` [titles] over the first `k` titles; NaN for an empty list."""
    top = _top(recommended, k, len(values))
    is_title = top != NO_TITLE
    title_values = np.zeros(top.shape)
    title_values[is_title] = values[top[is_title]]
    return _divide(title_values.sum(axis=1), is_title.sum(axis=1))


def _list_matrix(
    top: Ids, columns: NDArray[np.int64], weights: NDArray[np.float64], count_columns: int
) -> sparse.csr_matrix:
    """[users, columns]: the weight of a title's rank; `columns` are those of the titles in `top`, in its order."""
    rows, ranks = np.nonzero(top != NO_TITLE)
    return sparse.csr_matrix((weights[ranks], (rows, columns)), shape=(len(top), count_columns))


def _count_recommended(recommended: Ids, candidates: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """[candidates]: the number of lists that contain each candidate."""
    top = _top(recommended, k, len(candidates))
    counts = np.bincount(top[top != NO_TITLE], minlength=len(candidates))
    if not candidates.any():
        raise ValueError(f"candidates: none of {len(candidates)} titles is one")
    strangers = np.flatnonzero((counts > 0) & ~candidates)
    if len(strangers):
        raise ValueError(f"recommended: {len(strangers)} titles are no candidates, the first is {strangers[0]}")
    return counts[candidates]


def _row_norms(block: Block) -> NDArray[np.float64]:
    """[rows]: Euclidean lengths."""
    doubles = block.astype(np.float64)
    return linalg.norm(doubles, axis=1) if sparse.issparse(doubles) else np.linalg.norm(doubles, axis=1)


def _row_shares(amounts: NDArray[np.float64], otherwise: float = np.nan) -> NDArray[np.float64]:
    """Rows that sum to 1; `otherwise` throughout a row of zeros."""
    return _divide(amounts, amounts.sum(axis=1, keepdims=True), otherwise)


def _divide(
    above: NDArray[np.float64],
    below: NDArray[np.float64] | NDArray[np.int64],
    otherwise: float = np.nan,
    where: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The quotient; `otherwise` where the divisor is 0 or `where` is false."""
    is_defined = below != 0 if where is None else where
    return np.divide(above, below, out=np.full(above.shape, otherwise), where=is_defined)
