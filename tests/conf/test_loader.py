"""The loader refuses unknown keys, wrong types and impossible values, and its errors name the source and the key."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from conf.loader import DEFAULT_CONF, ConfigError, load_settings

CLUSTER_CONF = DEFAULT_CONF.with_name("cluster.yaml")


def _conf(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _error_of_file(tmp_path: Path, text: str) -> str:
    path = _conf(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    return str(error.value).replace(str(path), "my.yaml")


def _error_of_set(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_settings(overrides=overrides)
    return str(error.value)


def test_local_yaml_is_the_default() -> None:
    settings = load_settings()
    assert (settings.seed, settings.staging.max_rejected_share) == (20240501, 0.05)
    assert settings.simulate.first_day == date(2024, 5, 1)


def test_file_is_laid_over_local_yaml_key_by_key(tmp_path: Path) -> None:
    settings = load_settings(_conf(tmp_path, "seed: 7\nstaging:\n  max_rejected_share: 0.25\n"))
    # The neighbours keep the values of local.yaml.
    assert (settings.seed, settings.staging.max_rejected_share, settings.staging.max_rating) == (7, 0.25, 5.0)


def test_set_wins_over_the_file_and_the_last_set_over_all(tmp_path: Path) -> None:
    path = _conf(tmp_path, "seed: 7\n")
    assert load_settings(path, ["seed=8"]).seed == 8
    assert load_settings(path, ["seed=8", "seed=9"]).seed == 9
    assert load_settings(path, ["seed=9", "seed=8"]).seed == 8


def test_file_may_be_laid_over_another(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "lowest.yaml").write_text("seed: 7\nstaging: {max_rejected_share: 0.5}\n", encoding="utf-8")
    between = "over: ../lowest.yaml\nstaging: {max_rejected_share: 0.25}\n"
    (tmp_path / "sub" / "between.yaml").write_text(between, encoding="utf-8")
    settings = load_settings(_conf(tmp_path, "over: sub/between.yaml\ntraining: {epochs: 9}\n"), ["seed=8"])
    assert (settings.seed, settings.staging.max_rejected_share, settings.training.epochs) == (8, 0.25, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("over: my.yaml\n", "my.yaml: is laid over itself"),
        ("over: ../{folder}/my.yaml\n", "my.yaml: is laid over itself"),
        ("over: [a.yaml]\n", "my.yaml: over: expected the name of a file, not ['a.yaml']"),
    ],
)
def test_file_laid_over_itself_or_no_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert _error_of_file(tmp_path, text.format(folder=tmp_path.name)) == message


def test_error_in_the_file_below_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("sed: 7\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"below\.yaml: unknown key 'sed'; did you mean 'seed'"):
        load_settings(_conf(tmp_path, "over: below.yaml\n"))


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings(_conf(tmp_path, text)).seed == 20240501


@pytest.mark.parametrize("name", ["movielens.yaml", "movielens-small.yaml"])
def test_movielens_files_load_over_local_yaml(name: str) -> None:
    settings = load_settings(DEFAULT_CONF.with_name(name))
    assert settings.histories.max_titles == settings.examples.user_history_titles == 1000
    assert settings.title_features.text.encoder == "sentence"
    assert settings.training.learning_rate == 0.002  # of local.yaml


def test_cluster_yaml_loads_over_local_yaml() -> None:
    settings = load_settings(CLUSTER_CONF)
    assert settings.lake.root == "s3a://marquee/lake"
    assert settings.bundles.root == "s3a://marquee/lake/bundles"
    assert settings.spark.master == "yarn"
    assert settings.spark.conf["spark.sql.shuffle.partitions"] == "200"
    assert settings.airflow.retries == 2  # of local.yaml


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=1", "--set sed=1: unknown key 'sed'; did you mean 'seed'?"),
        ("lake.rot=x", "--set lake.rot=x: unknown key 'lake.rot'; did you mean 'lake.root'?"),
        ("zebra=1", "--set zebra=1: unknown key 'zebra'"),
    ],
)
def test_unknown_key_of_set_is_named_with_a_near_one(override: str, message: str) -> None:
    assert _error_of_set(override) == message


def test_unknown_key_of_a_file_is_named_with_a_near_one(tmp_path: Path) -> None:
    assert _error_of_file(tmp_path, "staging:\n  max_ratin: 5.0\n") == (
        "my.yaml: unknown key 'staging.max_ratin'; did you mean 'staging.max_rating'?"
    )


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    assert _error_of_file(tmp_path, "simulate:\n  users: ten\nsed: 1\n") == (
        "my.yaml: simulate.users: Input should be a valid integer, not 'ten'; "
        "my.yaml: unknown key 'sed'; did you mean 'seed'?"
    )


@pytest.mark.parametrize(
    ("override", "key", "came"),
    [
        ("seed=1.0", "seed", "1.0"),
        ("seed=true", "seed", "True"),
        ("seed='1'", "seed", "'1'"),
        ("seed=", "seed", "None"),
        ("lake.root=3", "lake.root", "3"),
        ("lake.root=", "lake.root", "None"),
        ("lake=here", "lake", "'here'"),
        ("simulate.first_day=soon", "simulate.first_day", "'soon'"),
        ("staging.max_rating='5.0'", "staging.max_rating", "'5.0'"),
    ],
)
def test_wrong_type_is_refused_and_never_coerced(override: str, key: str, came: str) -> None:
    message = _error_of_set(override)
    assert message.startswith(f"--set {override}: {key}: ")
    assert message.endswith(f", not {came}")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=-1", "seed"),
        ("seed=4294967296", "seed"),  # 2**32: NumPy takes no larger seed
        ("lake.root=''", "lake.root"),
        ("staging.max_rejected_share=1.5", "staging.max_rejected_share"),
        ("staging.max_rejected_share=-0.1", "staging.max_rejected_share"),
        ("staging.max_rejected_share=.nan", "staging.max_rejected_share"),
        ("staging.max_rating=.inf", "staging.max_rating"),
        ("staging.min_rating=.nan", "staging.min_rating"),
        ("backfill.max_chunk_days=0", "backfill.max_chunk_days"),
        ("simulate.sessions_per_user_day=0", "simulate.sessions_per_user_day"),
        ("simulate.taste_dims=1", "simulate.taste_dims"),
    ],
)
def test_impossible_value_is_refused(override: str, key: str) -> None:
    assert _error_of_set(override).startswith(f"--set {override}: {key}: ")


@pytest.mark.parametrize(
    "override", ["staging.max_rejected_share=0", "staging.max_rejected_share=1", "seed=4294967295"]
)
def test_values_at_the_bounds_are_allowed(override: str) -> None:
    key, _, value = override.partition("=")
    settings = load_settings(overrides=[override])
    assert {"seed": settings.seed, "staging.max_rejected_share": settings.staging.max_rejected_share}[key] == int(value)


def test_date_that_no_calendar_has_is_refused_by_set() -> None:
    message = _error_of_set("simulate.first_day=2024-13-01")
    assert message.startswith("--set simulate.first_day=2024-13-01: ")


def test_date_that_no_calendar_has_is_refused_in_a_file(tmp_path: Path) -> None:
    assert _error_of_file(tmp_path, "simulate:\n  first_day: 2024-02-30\n").startswith("my.yaml: ")


def test_rule_over_a_section_names_the_source_that_broke_it() -> None:
    assert _error_of_set("staging.min_rating=9.0") == (
        "--set staging.min_rating=9.0: staging: min_rating 9.0 must be below max_rating 5.0"
    )


@pytest.mark.parametrize(
    ("text", "key"), [("seed: 1\nseed: 2\n", "seed"), ("feeds:\n  root: a\n  posters_dir: b\n  root: a\n", "root")]
)
def test_key_given_twice_is_refused(tmp_path: Path, text: str, key: str) -> None:
    assert _error_of_file(tmp_path, text) == f"my.yaml: key given twice: {key}"


def test_key_given_twice_in_a_set_names_the_set() -> None:
    assert _error_of_set("lake={root: a, root: b}") == "--set lake={root: a, root: b}: key given twice: root"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as error:
        load_settings(tmp_path / "none.yaml")
    assert str(error.value).startswith(f"{tmp_path / 'none.yaml'}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- seed\n", "my.yaml: expected a mapping of sections, found list"),
        ("seed\n", "my.yaml: expected a mapping of sections, found str"),
    ],
)
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert _error_of_file(tmp_path, text) == message


@pytest.mark.parametrize("text", ["seed: [1\n", "seed: 1\n---\nseed: 2\n", "seed: !!python/name:os.system\n"])
def test_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    assert _error_of_file(tmp_path, text).startswith("my.yaml: no valid YAML: ")


def test_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"lake:\n  root: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: .*utf-8"):
        load_settings(path)


@pytest.mark.parametrize("override", ["seed", "=1", "lake..root=x", ".seed=1", "seed.=1"])
def test_set_that_is_no_assignment_is_refused(override: str) -> None:
    assert _error_of_set(override) == f"--set {override}: expected key.path=value"


def test_set_may_hold_an_equals_sign() -> None:
    assert load_settings(overrides=["mlflow.tracking_uri=http://host/?a=b"]).mlflow.tracking_uri == "http://host/?a=b"


def test_spark_keys_keep_their_dots_and_stay_text(tmp_path: Path) -> None:
    path = _conf(tmp_path, "spark:\n  conf:\n    spark.ui.enabled: 'true'\n    spark.sql.shuffle.partitions: '4'\n")
    settings = load_settings(path, ["spark.conf.spark.sql.shuffle.partitions=7", "spark.conf.spark.ui.enabled=false"])
    assert dict(settings.spark.conf) == {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "7"}


def test_spark_value_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert _error_of_file(tmp_path, "spark:\n  conf:\n    spark.sql.shuffle.partitions: 4\n") == (
        "my.yaml: spark.conf.spark.sql.shuffle.partitions: Input should be a valid string, not 4"
    )


def test_relative_locations_are_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(overrides=["lake.root=my/lake", "feeds.root=../feeds", "feeds.posters_dir=/posters"])
    assert settings.lake.root == f"{tmp_path}/my/lake"
    assert Path(settings.feeds.root).resolve() == tmp_path.parent / "feeds"
    assert settings.feeds.posters_dir == "/posters"


@pytest.mark.parametrize(
    "uri", ["s3a://bucket/lake", "gs://bucket/lake", "abfss://c@a.dfs.core.windows.net/x", "file:/lake"]
)
def test_uris_stay_as_they_are(uri: str) -> None:
    assert load_settings(overrides=[f"lake.root={uri}"]).lake.root == uri


def test_relative_conf_file_is_found_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _conf(tmp_path, "seed: 7\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings("my.yaml").seed == 7


def test_settings_are_frozen() -> None:
    settings = load_settings(overrides=["spark.conf.spark.a=1"])
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.lake.root = "/elsewhere"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.spark.conf["spark.a"] = "2"  # type: ignore[index]
    assert (settings.seed, dict(settings.spark.conf)) == (20240501, {"spark.a": "1"})
