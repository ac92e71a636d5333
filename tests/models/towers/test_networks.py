"""Both losses against plain loops over users and titles, with the same draws."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.towers import networks
from models.towers.layers import HistoryTensors
from models.towers.legacy_keras import keras, tf
from models.towers.networks import NetworkOptions, SampledSoftmax, TwoTowerNetwork, UserSoftmax

DIM, COUNT_TITLES = 4, 8
TEMPERATURE, LIKE = 0.2, 0.25
Rows = list[list[int]]


def options(**changes: Any) -> NetworkOptions:
    plain = {"dim": DIM, "count_titles": COUNT_TITLES, "count_countries": 4, "temperature": TEMPERATURE, "seed": 11}
    return NetworkOptions(**{**plain, **changes})


def ready(network: TwoTowerNetwork) -> Any:
    """The network, compiled and with query weights unlike the initial ones."""
    network.compile(optimizer=keras.optimizers.Adam(0.1))
    random = np.random.default_rng(1)
    for name in ("of_vector", "of_age", "of_weight", "countries"):
        variable = getattr(network.query, name)
        variable.assign(random.normal(size=variable.shape))
    return network


def of_users(share: tuple[float, float], power: float = 0.5, **changes: Any) -> UserSoftmax:
    return ready(UserSoftmax(options(**changes), share, power, LIKE))


USERS = {
    # Row 2 is twice in the second history; entries that weigh .1 are not likes; the third has no likes.
    "rows": np.array([[1, 4, 6, 7, 0], [2, 3, 2, 8, 5], [4, 1, 0, 0, 0], [0, 0, 0, 0, 0]]),
    "weights": np.array(
        [[1, 0.8, 1, 0.1, 0], [1, 1, 1, -1, 0.5], [0.1, -1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=np.float32
    ),
    "ages_days": np.arange(20, dtype=np.float32).reshape(4, 5),
    "country": np.array([2, 0, 3, 1]),
}


def tensors(values: dict[str, NDArray[Any]]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in values.items()}


def dropped(network: UserSoftmax, share: tuple[float, float]) -> NDArray[np.bool_]:
    """[users, length]: entries that this step leaves out of histories."""
    users, length = USERS["rows"].shape
    shares = share[0] + (share[1] - share[0]) * tf.random.stateless_uniform([users, 1], network.draw(0)).numpy()
    return tf.random.stateless_uniform([users, length], network.draw(1)).numpy() < shares


def expected_user_loss(
    network: UserSoftmax, is_dropped: NDArray[np.bool_], power: float, title_weights: Any = None
) -> float:
    of_title = np.ones(COUNT_TITLES) if title_weights is None else title_weights
    table = network.titles.table().numpy()
    losses, counts = [], []
    for user, rows in enumerate(USERS["rows"]):
        is_liked = (rows > 0) & (USERS["weights"][user] >= LIKE)
        kept_rows = np.where(is_dropped[user], 0, rows)
        kept = HistoryTensors(
            kept_rows[None], *(USERS[name][user : user + 1] for name in ("weights", "ages_days", "country"))
        )
        query = network.query(HistoryTensors(*map(tf.constant, kept)), tf.constant(table)).numpy()[0]
        kept_liked = sorted(set(rows[is_liked & ~is_dropped[user]]))
        targets = sorted(set(rows[is_liked & is_dropped[user]]) - set(kept_liked))
        if not targets:
            continue
        logits = {}
        for title in range(1, COUNT_TITLES + 1):
            if title not in kept_liked:
                logits[title] = query @ table[title] / TEMPERATURE
        total = np.log(np.sum(np.exp(list(logits.values()))))
        losses.append(-np.mean([of_title[title - 1] * (logits[title] - total) for title in targets]))
        counts.append(len(targets))
    weights = np.array(counts) ** power
    return float(np.sum(weights * losses) / np.sum(weights))


@pytest.mark.parametrize(
    ("share", "power", "changes"),
    [
        ((1.0, 1.0), 0.0, {}),
        ((0.3, 0.7), 0.5, {}),
        ((0.3, 0.7), 1.0, {}),
        ((0.5, 0.5), 0.5, {"seed": 5}),
        ((0.5, 0.5), 0.5, {"title_weights": np.linspace(0.5, 2, COUNT_TITLES, dtype=np.float32)}),
    ],
)
def test_user_softmax_is_that_of_a_loop(share: tuple[float, float], power: float, changes: dict[str, Any]) -> None:
    network = of_users(share, power, **changes)
    expected = expected_user_loss(network, dropped(network, share), power, changes.get("title_weights"))
    assert float(network.compute_loss(tensors(USERS), training=True)) == pytest.approx(expected, rel=1e-4)


def test_nothing_dropped_is_nothing_to_predict() -> None:
    assert float(of_users((0.0, 0.0)).compute_loss(tensors(USERS))) == 0


def test_scores_are_of_the_whole_history() -> None:
    network = of_users((0.5, 0.5))
    history = HistoryTensors(*(tf.constant(USERS[name]) for name in ("rows", "weights", "ages_days", "country")))
    table = network.titles.table().numpy()
    scores = network.query(history, tf.constant(table)).numpy() @ table.T / TEMPERATURE
    np.testing.assert_allclose(network.scores(history).numpy()[:, 1:], scores[:, 1:], rtol=1e-4, atol=1e-4)


def test_each_step_draws_anew_and_the_same_step_the_same() -> None:
    losses = []
    for _ in range(2):
        network = of_users((0.3, 0.7))
        network.optimizer.build(network.trainable_variables)
        by_step = [float(network.compute_loss(tensors(USERS)))]
        network.optimizer.iterations.assign_add(1)
        by_step.append(float(network.compute_loss(tensors(USERS))))
        network.optimizer.iterations.assign(0)
        by_step.append(float(network.compute_loss(tensors(USERS))))
        losses.append(by_step)
    assert losses[0] == losses[1]
    assert losses[0][0] == losses[0][2] != losses[0][1]


POPULARITY = np.array([0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05], dtype=np.float32)
EXAMPLES = {
    "rows": np.array([[2, 3, 0], [1, 0, 0], [0, 0, 0], [6, 1, 4]]),
    "weights": np.array([[1, 1, 0], [0.5, 0, 0], [0, 0, 0], [1, -1, 1]], dtype=np.float32),
    "ages_days": np.arange(12, dtype=np.float32).reshape(4, 3),
    "country": np.array([2, 0, 3, 1]),
    # Title 1 is liked by two: for each the other is no negative; for the last it is in the history too.
    "title_row": np.array([1, 5, 1, 7]),
    "sampling_probability": POPULARITY[[0, 4, 0, 6]],
}
UNIFORM = 6


def of_examples(correct: bool = True, **changes: Any) -> SampledSoftmax:
    return ready(SampledSoftmax(options(**changes), POPULARITY, UNIFORM, correct))


def expected_example_loss(network: SampledSoftmax, correct: bool, title_weights: Any = None) -> float:
    of_title = np.ones(COUNT_TITLES) if title_weights is None else title_weights
    table = network.titles.table().numpy()
    history = HistoryTensors(*(tf.constant(EXAMPLES[name]) for name in ("rows", "weights", "ages_days", "country")))
    queries = network.query(history, tf.constant(table)).numpy()
    drawn = tf.random.stateless_uniform([UNIFORM], network.draw(3), 1, COUNT_TITLES + 1, tf.int64).numpy()
    candidates = [*EXAMPLES["title_row"], *drawn]
    losses = []
    for example, liked_row in enumerate(EXAMPLES["title_row"]):
        logits = []
        for number, title in enumerate(candidates):
            if number != example and (title == liked_row or title in EXAMPLES["rows"][example]):
                continue
            # The probability of a title among four drawn by popularity and six drawn evenly.
            draw_probability = (4 * POPULARITY[title - 1] + UNIFORM / COUNT_TITLES) / (4 + UNIFORM)
            logits.append(queries[example] @ table[title] / TEMPERATURE - (np.log(draw_probability) if correct else 0))
            if number == example:
                liked = logits[-1]
        losses.append(of_title[liked_row - 1] * (np.log(np.sum(np.exp(logits))) - liked))
    return float(np.mean(losses))


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 4},
        {"title_weights": np.linspace(0.5, 2, COUNT_TITLES, dtype=np.float32)},
    ],
)
def test_sampled_softmax_is_that_of_a_loop(correct: bool, changes: dict[str, Any]) -> None:
    network = of_examples(correct, **changes)
    expected = expected_example_loss(network, correct, changes.get("title_weights"))
    assert float(network.compute_loss(tensors(EXAMPLES), training=True)) == pytest.approx(expected, rel=1e-4)


def test_titles_of_the_history_and_the_liked_one_again_are_no_negatives() -> None:
    """In a catalogue of two, the liked title and that of the history, there is no negative."""
    network = ready(SampledSoftmax(options(count_titles=2), np.array([0.5, 0.5], np.float32), 20, True))
    both: dict[str, NDArray[Any]] = {**EXAMPLES, "title_row": np.array([1, 1, 1, 1])}
    both["sampling_probability"] = np.full(4, 0.5, dtype=np.float32)
    seen = {**both, "rows": np.array([[2, 0, 0]] * 4)}
    new = {**both, "rows": np.array([[0, 0, 0]] * 4)}
    assert float(network.compute_loss(tensors(seen))) == pytest.approx(0, abs=1e-6)
    assert float(network.compute_loss(tensors(new))) > 0.1


def test_a_large_catalogue_gives_the_loss_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = of_examples()
    losses, gradients = [], []
    for few in (COUNT_TITLES + 1, 0):
        monkeypatch.setattr(networks, "_FEW_TITLES", few)
        with tf.GradientTape() as tape:
            loss = network.compute_loss(tensors(EXAMPLES))
        losses.append(float(loss))
        by_variable = tape.gradient(loss, [network.titles.ids, network.query.everybody])
        gradients.append([tf.convert_to_tensor(gradient).numpy() for gradient in by_variable])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for small, large in zip(*gradients, strict=True):
        np.testing.assert_allclose(large, small, atol=1e-5)


def learnt_scores(correct: bool) -> NDArray[np.float32]:
    """[titles]: scores for a user without history; popular titles are liked, and drawn as negatives, more often."""
    titles = np.random.default_rng(6).choice(COUNT_TITLES, size=128, p=POPULARITY / POPULARITY.sum()) + 1
    nothing = {name: np.zeros((128, 1), dtype=EXAMPLES[name].dtype) for name in ("rows", "weights", "ages_days")}
    batch = {**nothing, "country": np.zeros(128, dtype=np.int64), "title_row": titles}
    batch["sampling_probability"] = POPULARITY[titles - 1]
    network = SampledSoftmax(options(dim=16, temperature=0.5), POPULARITY, UNIFORM, correct)
    network.compile(optimizer=keras.optimizers.Adam(0.1))
    network.fit(tf.data.Dataset.from_tensors(tensors(batch)).repeat(60), verbose=0)
    cold_user = HistoryTensors(*(tf.constant(batch[name][:1]) for name in ("rows", "weights", "ages_days", "country")))
    return network.scores(cold_user).numpy()[0, 1:]


def test_correction_makes_up_for_popular_titles_drawn_as_negatives_more_often() -> None:
    corrected, plain = learnt_scores(True), learnt_scores(False)
    popular, rare = POPULARITY >= 0.15, POPULARITY <= 0.05
    # Popular ones are liked six to three times as often: ln 3 is 1.1.
    assert corrected[popular].min() - corrected[rare].max() > 0.9
    assert plain[popular].mean() - plain[rare].mean() < 0.5 * (corrected[popular].mean() - corrected[rare].mean())
