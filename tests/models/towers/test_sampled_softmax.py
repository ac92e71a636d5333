"""The sampled softmax: equal to the whole one where all titles are drawn, a plain loop otherwise, and unbiased."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lake.arrays import Doubles
from models.towers.layers import HistoryTensors
from models.towers.legacy_keras import keras, tf
from models.towers.networks import TwoTowerNetwork, UserSoftmax
from models.towers.sampled_softmax import SampledSoftmax, inclusion_probabilities
from tests.fixtures.small_networks import COUNT_TITLES, LIKE, TEMPERATURE, dropped, options, ready, tensors, users

POPULARITY = np.array([30, 20, 15, 10, 10, 5, 5, 5])
NEGATIVES = 5
# Half evenly, half by popularity, shares are .2125, .1625, .1375, .1125, .1125 and three of .0875. Five times .2125 is
# more than 1, so the first title always comes, and four of the others, by their shares of .7875.
PROBABILITIES = np.array([1, *(4 / 0.7875 * np.array([0.1625, 0.1375, 0.1125, 0.1125, 0.0875, 0.0875, 0.0875]))])

USERS = {
    # Entries that weigh .1 or less are not likes; the third has no likes, the fourth no history.
    "rows": np.array([[1, 4, 6, 7, 0], [2, 3, 1, 8, 5], [4, 1, 0, 0, 0], [0, 0, 0, 0, 0], [7, 8, 0, 0, 0]]),
    "weights": np.array(
        [[1, 0.8, 1, 0.1, 0], [1, 1, 1, -1, 0.5], [0.1, -1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]],
        dtype=np.float32,
    ),
    "ages_days": np.arange(25, dtype=np.float32).reshape(5, 5),
    "country": np.array([2, 0, 3, 1, 0]),
}
SOME = (0.3, 0.7)
TITLE_WEIGHTS = np.linspace(0.5, 2, COUNT_TITLES, dtype=np.float32)


def sampled(negatives: int = NEGATIVES, share: tuple[float, float] = SOME, **changes: Any) -> SampledSoftmax:
    return ready(SampledSoftmax(options(**changes), users(share), POPULARITY, negatives))


def loss_and_gradients(network: UserSoftmax) -> tuple[float, list[NDArray[np.float32]]]:
    query = network.query
    variables = [network.titles.ids, *(getattr(query, name) for name in query.weights_by_name())]
    with tf.GradientTape() as tape:
        loss = network.compute_loss(tensors(USERS), training=True)
    return float(loss), [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, variables)]


@pytest.mark.parametrize("negatives", [COUNT_TITLES, 99])
@pytest.mark.parametrize(
    ("share", "changes"),
    [
        ((1.0, 1.0), {}),
        (SOME, {}),
        ((0.5, 0.5), {"seed": 5}),
        (SOME, {"title_weights": TITLE_WEIGHTS, "log_popularity": np.log(POPULARITY / 100).astype(np.float32)}),
    ],
)
def test_a_sample_of_all_titles_gives_the_softmax_over_the_catalogue(
    negatives: int, share: tuple[float, float], changes: dict[str, Any]
) -> None:
    loss, gradients = loss_and_gradients(sampled(negatives, share, **changes))
    expected_loss, expected = loss_and_gradients(ready(UserSoftmax(options(**changes), users(share))))
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for gradient, of_catalogue in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, of_catalogue, atol=1e-5)


def expected_loss(network: SampledSoftmax, title_weights: NDArray[np.float32]) -> float:
    """Title by title: the user's targets by their own term, other titles of the sample by that over π."""
    is_dropped, table = dropped(network, USERS), network.titles.table().numpy()
    sample = network.draw_negatives().numpy().tolist()
    losses, counts = [], []
    for user, rows in enumerate(USERS["rows"]):
        is_liked = (rows > 0) & (USERS["weights"][user] >= LIKE)
        kept = HistoryTensors(
            tf.constant(np.where(is_dropped[user], 0, rows)[None]),
            *(tf.constant(USERS[name][user : user + 1]) for name in ("weights", "ages_days", "country")),
        )
        query = network.query(kept, tf.constant(table)).numpy()[0]
        targets = rows[is_liked & is_dropped[user]].tolist()
        terms = {title: np.exp(query @ table[title] / TEMPERATURE) for title in range(1, COUNT_TITLES + 1)}
        total = sum(terms[title] for title in targets)
        for title in sample:
            if title not in targets and title not in rows[is_liked & ~is_dropped[user]]:
                total += terms[title] / PROBABILITIES[title - 1]
        if targets:
            losses.append(np.mean([title_weights[title - 1] * np.log(total / terms[title]) for title in targets]))
            counts.append(len(targets))
    weights = np.array(counts) ** 0.5
    return float(np.sum(weights * losses) / np.sum(weights))


@pytest.mark.parametrize("share", [(1.0, 1.0), SOME])
@pytest.mark.parametrize("changes", [{}, {"seed": 5}, {"title_weights": TITLE_WEIGHTS}])
def test_the_loss_of_a_sample_is_that_of_a_loop(share: tuple[float, float], changes: dict[str, Any]) -> None:
    network = sampled(share=share, **changes)
    expected = expected_loss(network, changes.get("title_weights", np.ones(COUNT_TITLES, np.float32)))
    assert float(network.compute_loss(tensors(USERS), training=True)) == pytest.approx(expected, rel=1e-4)


def test_nothing_dropped_is_nothing_to_predict() -> None:
    assert float(sampled(share=(0.0, 0.0)).compute_loss(tensors(USERS))) == 0


def test_a_liked_title_that_was_kept_is_no_negative() -> None:
    """In a catalogue of two, one kept and one to be predicted, nothing is left to tell apart."""
    network = ready(SampledSoftmax(options(count_titles=2), users((0.5, 0.5)), np.ones(2), 2))
    nothing = np.zeros((12, 2), np.float32)
    both = {"rows": np.array([[1, 2]] * 12), "weights": nothing + 1, "ages_days": nothing, "country": np.zeros(12, int)}
    counts = dropped(network, both).sum(axis=1)
    assert set(counts.tolist()) == {0, 1, 2}
    for user, count in enumerate(counts.tolist()):
        is_user = np.arange(12)[:, None] == user
        loss = float(network.compute_loss(tensors({**both, "rows": both["rows"] * is_user})))
        assert loss == pytest.approx(0, abs=1e-6) if count < 2 else loss > 0.1


def test_probabilities_sum_to_the_sample_and_are_1_at_most() -> None:
    np.testing.assert_allclose(inclusion_probabilities(POPULARITY, NEGATIVES), PROBABILITIES)
    np.testing.assert_array_equal(inclusion_probabilities(POPULARITY, COUNT_TITLES), 1)
    np.testing.assert_array_equal(inclusion_probabilities(POPULARITY, 99), 1)
    # Of three titles one has all likes: shares are 4/6, 1/6 and 1/6.
    np.testing.assert_allclose(inclusion_probabilities(np.array([7, 0, 0]), 1), [4 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(inclusion_probabilities(np.array([7, 0, 0]), 2), [1, 1 / 2, 1 / 2])
    many = inclusion_probabilities(np.random.default_rng(1).pareto(1, 500), 100)
    assert many.sum() == pytest.approx(100)
    assert 0 < many.min() < many.max() == 1


def test_titles_are_drawn_once_a_step_and_as_often_as_their_probabilities_say() -> None:
    network, steps = sampled(), 2000
    draw = tf.function(network.draw_negatives)
    counts = np.zeros(COUNT_TITLES + 1)
    for step in range(steps):
        network.optimizer.iterations.assign(step)
        drawn = draw().numpy()
        assert len(set(drawn.tolist())) == NEGATIVES
        counts[drawn] += 1
    assert counts[0] == 0  # padding
    assert counts[1] == steps
    spread = np.sqrt(PROBABILITIES * (1 - PROBABILITIES) / steps)
    assert (np.abs(counts[1:] / steps - PROBABILITIES) <= 4 * spread).all()


def test_a_step_draws_the_same_again_and_the_next_another_sample() -> None:
    samples = [sampled().draw_negatives().numpy().tolist() for _ in range(2)]
    assert samples[0] == samples[1]
    network, by_step = sampled(), set()
    for step in range(9):
        network.optimizer.iterations.assign(step)
        by_step.add(tuple(sorted(network.draw_negatives().numpy().tolist())))
    assert len(by_step) > 3


def test_the_sum_over_titles_is_unbiased() -> None:
    """With a single title to predict, exp(loss) is the sum over titles in units of that title's term."""
    single = {
        "rows": np.array([[6]]),
        "weights": np.ones((1, 1), np.float32),
        "ages_days": np.zeros((1, 1), np.float32),
        "country": np.array([2]),
    }
    network, inputs = sampled(share=(1.0, 1.0)), tensors(single)
    compute_loss = tf.function(network.compute_loss)
    sums = []
    for step in range(2000):
        network.optimizer.iterations.assign(step)
        sums.append(np.exp(float(compute_loss(inputs))))
    of_catalogue = ready(UserSoftmax(options(), users((1.0, 1.0))))
    expected = np.exp(float(of_catalogue.compute_loss(inputs)))
    spread = np.std(sums)
    assert spread > 0.05 * expected
    assert np.mean(sums) == pytest.approx(expected, abs=4 * spread / 2000**0.5)


LIKED = np.random.default_rng(6).choice(COUNT_TITLES, size=512, p=POPULARITY / POPULARITY.sum())


def learnt_scores(network: TwoTowerNetwork) -> Doubles:
    """[titles], of mean 0: scores for a user without history, after a training on users who like one of LIKED each."""
    nothing = np.zeros((len(LIKED), 1), np.float32)
    likes = {"rows": LIKED[:, None] + 1, "weights": nothing + 1, "ages_days": nothing, "country": 0 * LIKED}
    steps = 200
    network.compile(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, steps)))
    network.fit(tf.data.Dataset.from_tensors(tensors(likes)).repeat(steps), verbose=0)
    cold_user = {**likes, "rows": 0 * likes["rows"], "weights": nothing}
    scores = network.scores(HistoryTensors(*tensors(cold_user).values())).numpy()[0, 1:]
    return scores - scores.mean()


def test_popularity_is_learnt_as_by_the_softmax_over_the_catalogue() -> None:
    """Popular titles come into the sample more often, for which their probabilities make up."""
    about, of_users = options(dim=16, temperature=0.5), users((1.0, 1.0))
    by_sample = learnt_scores(SampledSoftmax(about, of_users, POPULARITY, NEGATIVES))
    of_catalogue = learnt_scores(UserSoftmax(about, of_users))
    logs = np.log(np.bincount(LIKED))
    np.testing.assert_allclose(of_catalogue, logs - logs.mean(), atol=0.02)
    # Some titles are in the sample twice as often as others: without making up for it, scores would miss ln 2 = 0.7.
    np.testing.assert_allclose(by_sample, of_catalogue, atol=0.25)


def test_ids_are_left_out_half_of_the_time_where_there_is_content() -> None:
    content = np.random.default_rng(3).normal(size=(COUNT_TITLES, 2)).astype(np.float32)
    with_content = sampled(content=content)
    loss, gradients = loss_and_gradients(with_content)
    assert np.isfinite(loss)
    assert gradients[0].any()
    kept = []
    for step in range(200):
        with_content.optimizer.iterations.assign(step)
        kept.append(with_content.keeps_id(tf.range(1, COUNT_TITLES + 1), 4).numpy())
    assert set(np.unique(kept)) == {0, 1}
    assert np.mean(kept) == pytest.approx(0.5, abs=0.05)
    assert sampled().keeps_id(tf.range(1, COUNT_TITLES + 1), 4) is None
