"""Text encoder: TF-IDF and a truncated SVD (latent semantic analysis). No download, no accelerator.

Deerwester, Dumais, Furnas, Landauer, Harshman. 1990. Indexing by Latent Semantic Analysis. JASIS 41(6):391-407.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

from jobs.features.encoders.unit import unit_rows

# Combining accents of Latin, Greek and Cyrillic letters; the vowel signs of other scripts are kept.
_ACCENTS = re.compile("[\u0300-\u036f]")
# "Andy's" is Andy, "can't" is one word, as in the stop words, and so is O'Brien.
_APOSTROPHES = re.compile("['\u2019]s\\b|['\u2019]")
# Letters and digits: 007 is more specific than most words.
_WORD = re.compile(r"[^\W_]{2,}")

# Directions weaker than this share of the strongest are rounding errors.
_RANK_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class TfidfEncoder:
    """The fitted encoder. It is stored as one row per term and rebuilt by the constructor, `terms` in their order."""

    version: str
    terms: tuple[str, ...]
    idf: np.ndarray  # [terms] float32
    components: np.ndarray  # [terms, dim] float32

    @property
    def dim(self) -> int:
        return int(self.components.shape[1])

    def encode(self, texts: Sequence[str]) -> np.ndarray:  # [texts, dim] float32
        """Unit rows; a row is all zero where no term of the text is known."""
        if not texts or not self.terms:
            return np.zeros((len(texts), self.dim), np.float32)
        return unit_rows(_term_weights(texts, self.terms, self.idf) @ self.components)


def fit(
    texts: Sequence[str],
    dim: int,
    min_documents: int,
    max_document_share: float,
    max_terms: int,
    seed: int,
) -> TfidfEncoder:
    """An encoder of the terms that occur in at least `min_documents` texts and at most `max_document_share` of them
    (or `min_documents`, where that is more), the `max_terms` most frequent ones.

    The same texts in another order give the same encoder. Where they span fewer than `dim` directions, the remaining
    components are zero; where no term is left, every text encodes to zeros. Raises ValueError without texts.
    """
    if not texts:
        raise ValueError("TF-IDF: expected texts to fit on, found none; load titles that have a plot first")
    texts = sorted(texts)
    documents = Counter(term for text in texts for term in set(_words(text)))
    most = max(min_documents, max_document_share * len(texts))
    candidates = [term for term, count in documents.items() if min_documents <= count <= most]
    terms = tuple(sorted(sorted(candidates, key=lambda term: (-documents[term], term))[:max_terms]))
    counts = np.array([documents[term] for term in terms], np.float64)
    # Smoothed as in scikit-learn: as if one more text had every term once.
    idf = (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32)
    components = np.zeros((len(terms), dim), np.float32)
    if terms:
        directions = _components(_term_weights(texts, terms, idf), dim, seed)
        components[:, : directions.shape[1]] = directions
    return TfidfEncoder(_version(terms, idf, components), terms, idf, components)


def _words(text: str) -> list[str]:
    """A text's words: without case, accents, plural endings and English stop words.

    Scripts without blanks between words are not segmented: a phrase is one word.
    """
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    words = _WORD.findall(_APOSTROPHES.sub("", unicodedata.normalize("NFC", letters)))
    return [_singular(word) for word in words if word not in ENGLISH_STOP_WORDS]


def _singular(word: str) -> str:
    """The S stemmer: D. Harman. 1991. How Effective Is Suffixing? JASIS 42(1):7-15, table 1."""
    if len(word) < 4 or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word.removesuffix("s")


def _term_weights(texts: Sequence[str], terms: Sequence[str], idf: np.ndarray) -> csr_matrix:
    """[texts, terms] float32: (1 + ln count) · idf, each row of length one."""
    counter = CountVectorizer(analyzer=_words, vocabulary=terms, dtype=np.float32)
    weights = counter.transform(texts)
    weights.data = (1 + np.log(weights.data)) * idf[weights.indices]
    return normalize(weights)


def _components(weights: csr_matrix, dim: int, seed: int) -> np.ndarray:
    """[terms, rank] of `weights` [texts, terms], rank at most `dim`: the right singular vectors, signs fixed.

    Not divided by the singular values: that would make the weakest direction, mostly noise, count as much as the
    strongest.
    """
    # The solver of TruncatedSVD, which itself refuses a single term.
    _, strengths, directions = randomized_svd(
        weights.astype(np.float64), n_components=min(dim, *weights.shape), random_state=seed
    )
    return directions[strengths > _RANK_TOLERANCE * strengths[0]].T.astype(np.float32)


def _version(terms: Sequence[str], idf: np.ndarray, components: np.ndarray) -> str:
    digest = hashlib.sha256("\n".join(terms).encode())
    for numbers in (idf, components):
        digest.update(numbers.astype("<f4").tobytes())
    return f"tfidf-{digest.hexdigest()[:12]}"
