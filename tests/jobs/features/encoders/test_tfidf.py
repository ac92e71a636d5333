import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from jobs.features.encoders import tfidf
from jobs.features.encoders.tfidf import TfidfEncoder

TEXTS = ["Toys fight. Toy!", "A toy in space", "The alien in space", "alien, alien fight"]
PLOTS = {
    "toys": "A boy's toys come to life when nobody looks, and a new toy wants to lead the others.",
    "puppet": "A wooden puppet, carved as a toy for a lonely boy, comes to life.",
    "alien": "The crew of a spaceship is hunted by an alien that came aboard from a dead planet.",
    "rescue": "Another crew lands on the planet to rescue a spaceship, and finds an alien waiting.",
    "mafia": "A mafia boss hands the family's business to his youngest son.",
    "heir": "The son of a mafia boss wants to leave the family and its business.",
}


def _fit(texts: Sequence[str], dim: int = 4, min_documents: int = 1, **changes: float) -> TfidfEncoder:
    share, terms = changes.get("max_document_share", 1.0), int(changes.get("max_terms", 1000))
    return tfidf.fit(texts, dim, min_documents, share, terms, seed=3)


def test_vectors_are_those_of_a_plain_computation() -> None:
    encoder = _fit(TEXTS, dim=2)
    # Counts by hand: plurals and stop words are gone.
    assert encoder.terms == ("alien", "fight", "space", "toy")
    counts = np.array([[0, 1, 0, 2], [0, 0, 1, 1], [1, 0, 1, 0], [2, 1, 0, 0]])
    idf = np.log(5 / (1 + np.array([2, 2, 2, 2]))) + 1
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    _, _, directions = np.linalg.svd(weights)
    expected = weights @ directions[:2].T
    expected /= np.sqrt((expected**2).sum(axis=1, keepdims=True))
    vectors = encoder.encode(TEXTS)
    # Cosines, since a direction's sign is free.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.idf, idf, rtol=1e-6)


def test_plots_of_one_kind_are_neighbours() -> None:
    vectors = _fit(list(PLOTS.values()), dim=3).encode(list(PLOTS.values()))
    cosines = vectors @ vectors.T - 2 * np.eye(len(PLOTS))
    names = list(PLOTS)
    nearest = {name: names[int(cosines[row].argmax())] for row, name in enumerate(names)}
    pairs = [("toys", "puppet"), ("alien", "rescue"), ("mafia", "heir")]
    assert nearest == dict([*pairs, *[(b, a) for a, b in pairs]])


def test_fit_is_the_same_for_the_same_texts_in_any_order() -> None:
    texts = list(PLOTS.values())
    one, other = _fit(texts, dim=5), _fit(texts[::-1], dim=5)
    assert (one.version, one.terms) == (other.version, other.terms)
    assert one.components.tobytes() == other.components.tobytes()


def test_version_changes_with_the_texts() -> None:
    versions = {_fit(TEXTS).version, _fit([*TEXTS, "toy alien"]).version, _fit(TEXTS, dim=3).version}
    assert len(versions) == 3
    assert all(len(version) == len("tfidf-") + 12 and version.startswith("tfidf-") for version in versions)


def test_encoder_rebuilt_from_columns_gives_the_same_bits() -> None:
    encoder = _fit(list(PLOTS.values()), dim=5)
    rows = [
        (term, float(idf), [float(x) for x in vector])
        for term, idf, vector in zip(encoder.terms, encoder.idf, encoder.components, strict=True)
    ]
    rebuilt = TfidfEncoder(
        encoder.version,
        tuple(term for term, _, _ in rows),
        np.array([idf for _, idf, _ in rows], np.float32),
        np.array([vector for _, _, vector in rows], np.float32),
    )
    texts = [*PLOTS.values(), "An alien boy and his toy"]
    assert rebuilt.encode(texts).tobytes() == encoder.encode(texts).tobytes()
    # Spark ships an encoder to its workers as a pickle.
    assert pickle.loads(pickle.dumps(encoder)).encode(texts).tobytes() == encoder.encode(texts).tobytes()


def test_vector_does_not_depend_on_the_batch() -> None:
    encoder = _fit(list(PLOTS.values()), dim=5)
    together = encoder.encode(list(PLOTS.values()))
    alone = np.concatenate([encoder.encode([plot]) for plot in PLOTS.values()])
    assert alone.tobytes() == together.tobytes()


@pytest.mark.parametrize("text", ["", " \n", "unseen", "the of and", "!?"])
def test_text_without_a_known_term_is_all_zero(text: str) -> None:
    vectors = _fit(TEXTS).encode([text, "toy"])
    assert vectors[0].tolist() == [0, 0, 0, 0]
    assert np.linalg.norm(vectors[1]) == pytest.approx(1)


def test_no_texts_encode_to_no_rows() -> None:
    vectors = _fit(TEXTS).encode([])
    assert (vectors.shape, vectors.dtype) == ((0, 4), np.float32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Andy's toys, Andy\u2019s TOY", ["andy", "toy", "andy", "toy"]),
        ("They can't find O'Brien", ["obrien"]),
        ("Agent 007 in 1962, at 5", ["agent", "007", "1962"]),
        ("Amélie AMELIE Ame\u0301lie", ["amelie", "amelie", "amelie"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        # Dakuten are no accents: か and が are other letters.
        ("がく ﬁlm Ёлка", ["がく", "film", "елка"]),
        ("cities boss bus movies species", ["city", "boss", "bus", "movy", "specy"]),
        ("snake_case e-mail", ["snake", "case", "mail"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    encoder = _fit([text], dim=1)
    assert encoder.terms == tuple(sorted(set(words)))


def test_terms_are_those_neither_too_rare_nor_too_common() -> None:
    texts = ["war peace love", "war peace", "war love", "war tea"]
    assert _fit(texts, min_documents=2, max_document_share=0.9).terms == ("love", "peace")
    assert _fit(texts, min_documents=1, max_document_share=0.25).terms == ("tea",)
    # The most frequent first, then by name.
    assert _fit(texts, max_terms=2).terms == ("love", "war")


def test_few_texts_fill_the_other_components_with_zeros() -> None:
    encoder = _fit(TEXTS[:3], dim=16)
    assert encoder.components.shape == (4, 16)
    assert not encoder.components[:, 3:].any()
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(TEXTS[:3]), axis=1), 1, atol=1e-6)


def test_texts_that_are_all_alike_span_one_direction() -> None:
    encoder = _fit(["toy space"] * 5, dim=3)
    np.testing.assert_allclose(np.abs(encoder.components), [[0.5**0.5, 0, 0]] * 2, atol=1e-6)
    assert np.abs(encoder.encode(["toy"])).tolist() == [[1, 0, 0]]


def test_share_too_small_for_a_tiny_catalogue_keeps_what_min_documents_allows() -> None:
    # A tenth of three plots is less than one; "space" is in two.
    assert _fit(TEXTS[:3], min_documents=2, max_document_share=0.1).terms == ("space", "toy")


def test_catalogue_without_a_common_term_encodes_to_zeros() -> None:
    encoder = _fit(["toy", "alien", "war"], min_documents=2)
    assert encoder.terms == ()
    assert encoder.encode(["toy", "war"]).tolist() == [[0, 0, 0, 0]] * 2


def test_no_texts_to_fit_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected texts to fit on, found none"):
        _fit([])
