"""The softmax over the whole catalogue against plain loops over users and titles, with the same draws."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.towers.layers import HistoryTensors
from models.towers.legacy_keras import tf
from models.towers.networks import UserSoftmax
from tests.fixtures.small_networks import COUNT_TITLES, LIKE, TEMPERATURE, dropped, options, ready, tensors, users


def of_users(share: tuple[float, float], power: float = 0.5, **changes: Any) -> UserSoftmax:
    return ready(UserSoftmax(options(**changes), users(share, power)))


USERS = {
    # Row 2 is twice in the second history; entries that weigh .1 are not likes; the third has no likes.
    "rows": np.array([[1, 4, 6, 7, 0], [2, 3, 2, 8, 5], [4, 1, 0, 0, 0], [0, 0, 0, 0, 0]]),
    "weights": np.array(
        [[1, 0.8, 1, 0.1, 0], [1, 1, 1, -1, 0.5], [0.1, -1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=np.float32
    ),
    "ages_days": np.arange(20, dtype=np.float32).reshape(4, 5),
    "country": np.array([2, 0, 3, 1]),
}


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
    expected = expected_user_loss(network, dropped(network, USERS), power, changes.get("title_weights"))
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
