"""Training epoch by epoch: continued after a kill, stopped early, ended by a loss that is no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.loader import load_settings
from conf.settings import Training, with_changes
from models.errors import ModelError
from models.fit import epochs
from models.fit.epochs import EpochResult
from models.towers.legacy_keras import keras, tf
from models.towers.networks import NetworkOptions, UserOptions, UserSoftmax

TITLES, USERS = 10, 32


class KilledError(Exception):
    """A test kills a training by this error."""


@pytest.fixture(scope="module")
def batches() -> dict[str, np.ndarray]:
    """[batches, users, length] of histories, each from one half of the titles."""
    random = np.random.default_rng(1)
    rows = np.array([random.permutation(5)[:4] + 1 + 5 * (n % 2) for n in range(USERS)])
    shape = (4, USERS // 4)
    ages = random.random((*shape, 4)).astype(np.float32)
    return {
        "rows": rows.reshape(*shape, 4),
        "weights": np.ones((*shape, 4), np.float32),
        "ages_days": ages,
        "country": np.zeros(shape, np.int64),
    }


@pytest.fixture(scope="module")
def options() -> Callable[..., Training]:
    def make(**changes: Any) -> Training:
        plain = {"epochs": 6, "learning_rate": 0.05, "patience_epochs": 2, **changes}
        return with_changes(load_settings(), {f"training.{key}": value for key, value in plain.items()}).training

    return make


def network(options: Training, count_steps: int = 24) -> UserSoftmax:
    keras.utils.set_random_seed(3)
    about = NetworkOptions(dim=4, count_titles=TITLES, count_countries=3, temperature=0.2, seed=3)
    made = UserSoftmax(about, UserOptions((0.2, 0.6), 0.5, 0.25))
    epochs.compile_network(made, options, count_steps)
    return made


def data_of(batches: dict[str, np.ndarray]) -> Callable[[int], tf.data.Dataset]:
    """Epochs of the batches, each in another order."""

    def make(epoch: int) -> tf.data.Dataset:
        order = np.random.default_rng(epoch).permutation(4)
        return tf.data.Dataset.from_tensor_slices({name: values[order] for name, values in batches.items()})

    return make


def weights_of(network: UserSoftmax) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.trainable_variables]


def fit(
    network: UserSoftmax,
    batches: dict[str, np.ndarray],
    options: Training,
    folder: Path,
    validate: Callable[[], float] | None = None,
    killed_after: int | None = None,
) -> list[EpochResult]:
    results: list[EpochResult] = []

    def on_epoch(result: EpochResult) -> None:
        results.append(result)
        if result.epoch == killed_after:
            raise KilledError

    epochs.fit(network, data_of(batches), options, folder, validate, on_epoch)
    return results


@pytest.fixture(scope="module")
def undisturbed(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[EpochResult], list[np.ndarray]]:
    made = network(options())
    return fit(made, batches, options(), tmp_path_factory.mktemp("undisturbed")), weights_of(made)


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    undisturbed: tuple[list[EpochResult], list[np.ndarray]],
    batches: dict[str, np.ndarray],
    options: Callable[..., Training],
    tmp_path: Path,
) -> None:
    expected, expected_weights = undisturbed
    # Killed before its first checkpoint, then after some: the epoch just reported is trained again.
    for killed_after in (0, 3):
        with pytest.raises(KilledError):
            fit(network(options()), batches, options(), tmp_path, killed_after=killed_after)
    last = network(options())
    results = fit(last, batches, options(), tmp_path)
    assert [result.epoch for result in results] == [3, 4, 5]
    assert [result.loss for result in results] == pytest.approx([result.loss for result in expected[3:]], rel=1e-5)
    for weight, expected_weight in zip(weights_of(last), expected_weights, strict=True):
        np.testing.assert_allclose(weight, expected_weight, atol=1e-5)


def test_a_training_that_ended_is_not_repeated(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path: Path
) -> None:
    first = network(options())
    short = options(epochs=2)
    assert len(fit(first, batches, short, tmp_path)) == 2
    again = network(options())
    assert fit(again, batches, short, tmp_path) == []
    for weight, expected_weight in zip(weights_of(again), weights_of(first), strict=True):
        np.testing.assert_array_equal(weight, expected_weight)


def test_it_stops_when_it_gets_no_better_and_the_best_weights_stay(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path: Path
) -> None:
    made = network(options())
    seen: list[list[np.ndarray]] = []

    def validate() -> float:
        seen.append(weights_of(made))
        return [0.1, 0.3, 0.2, 0.3][len(seen) - 1]

    results = fit(made, batches, options(epochs=9), tmp_path, validate)
    # The third and fourth epoch are no better than the second: equal is not better.
    assert [result.validation for result in results] == [0.1, 0.3, 0.2, 0.3]
    for weight, best in zip(weights_of(made), seen[1], strict=True):
        np.testing.assert_array_equal(weight, best)
    assert not np.array_equal(seen[1][0], seen[3][0])


def test_the_best_weights_survive_a_kill(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path: Path
) -> None:
    figures = {0: 0.1, 1: 0.5, 2: 0.2, 3: 0.3}
    seen: dict[int, list[np.ndarray]] = {}

    def measured(network: UserSoftmax, first: int) -> Callable[[], float]:
        def validate() -> float:
            epoch = first + len(seen)
            seen[epoch] = weights_of(network)
            return figures[epoch]

        return validate

    before = network(options())
    with pytest.raises(KilledError):
        fit(before, batches, options(), tmp_path, measured(before, 0), killed_after=2)
    best = seen[1]
    after = network(options())
    seen.clear()
    results = fit(after, batches, options(), tmp_path, measured(after, 2))
    assert [result.epoch for result in results] == [2, 3]
    for weight, best_weight in zip(weights_of(after), best, strict=True):
        np.testing.assert_array_equal(weight, best_weight)


def test_without_validation_all_epochs_are_trained(
    undisturbed: tuple[list[EpochResult], list[np.ndarray]],
) -> None:
    results, _ = undisturbed
    assert [result.epoch for result in results] == [0, 1, 2, 3, 4, 5]
    assert {result.validation for result in results} == {None}
    assert results[-1].loss < results[0].loss


def test_a_loss_that_is_no_number_ends_it(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path: Path
) -> None:
    # In one batch of four, not the last one.
    ages = batches["ages_days"].copy()
    ages[2, 0, 0] = np.nan
    with pytest.raises(ModelError, match=r"epoch 1: the loss is nan; lower training\.learning_rate"):
        fit(network(options()), {**batches, "ages_days": ages}, options(), tmp_path)


def test_an_epoch_s_loss_is_the_mean_over_its_steps(
    batches: dict[str, np.ndarray], options: Callable[..., Training], tmp_path: Path
) -> None:
    still = options(learning_rate=1e-12, epochs=1)
    made = network(still)
    made.optimizer.build(made.trainable_variables)
    order = np.random.default_rng(0).permutation(4)
    losses = []
    for step, number in enumerate(order):
        made.optimizer.iterations.assign(step)
        losses.append(float(made.compute_loss({name: tf.constant(values[number]) for name, values in batches.items()})))
    made.optimizer.iterations.assign(0)
    [result] = fit(made, batches, still, tmp_path)
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_learning_rate_falls_to_its_last_share(
    options: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "FINAL_LEARNING_RATE_SHARE", 0.1)
    made = network(options(), count_steps=20)
    rates = []
    made.optimizer.build(made.trainable_variables)
    for step in (0, 10, 20, 30):
        made.optimizer.iterations.assign(step)
        made.optimizer.apply_gradients((tf.zeros_like(weight), weight) for weight in made.trainable_variables)
        rates.append(float(made.optimizer.learning_rate))
    # Half way along a cosine is the middle.
    assert rates == pytest.approx([0.05, 0.0275, 0.005, 0.005], rel=1e-4)


@pytest.mark.parametrize(("setting", "expected"), [("on", "mixed_bfloat16"), ("off", "float32"), ("auto", "float32")])
def test_towers_compute_in_the_precision_of_the_setting(
    setting: str, expected: str, options: Callable[..., Training], batches: dict[str, np.ndarray]
) -> None:
    if setting == "auto" and tf.config.list_physical_devices("GPU"):
        pytest.skip("on a GPU auto is mixed")
    try:
        epochs.use_precision(options(mixed_precision=setting))
        assert keras.mixed_precision.global_policy().name == expected
        made = network(options())
        first = {name: tf.constant(values[0]) for name, values in batches.items()}
        loss = made.compute_loss(first)
        assert made.titles.ids.dtype == loss.dtype == tf.float32
        assert made.titles.table().dtype.name == expected.removeprefix("mixed_")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    plain = network(options())
    assert float(loss) == pytest.approx(float(plain.compute_loss(first)), rel=0.03)
