"""Keys of earlier versions are refused by name, and the message names the replacement."""

import re
from pathlib import Path

import pytest
import yaml

from conf import document
from conf.loader import ConfigError, load_settings
from conf.settings import Index, Settings, moved

ROOT = Path(__file__).parents[3]
OLD_KEYS = sorted(moved.KEYS)


@pytest.mark.parametrize("key", OLD_KEYS)
def test_old_key_is_refused_by_name(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(overrides=[f"{key}=1"])
    assert str(error.value) == f"--set {key}=1: {moved.replacement(key)}"
    file = tmp_path / "my.yaml"
    *sections, name = key.split(".")
    value: object = 1
    for part in (name, *reversed(sections)):
        value = {part: value}
    file.write_text(yaml.safe_dump(value), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_settings(file)
    assert str(error.value) == f"{file}: {moved.replacement(key)}"


def test_renamed_key_names_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"'gate\.max_unmet_share' is now 'gate\.max_unseen_share'$"):
        load_settings(overrides=["gate.max_unmet_share=0.3"])


def test_every_key_of_a_section_that_is_gone_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(overrides=["time_machine={known_likes: [0], later_days: 8}"])
    source = "--set time_machine={known_likes: [0], later_days: 8}"
    constant = "is no longer a setting: it is the constant"
    assert str(error.value) == (
        f"{source}: 'time_machine.known_likes' {constant} FIRST_KNOWN_LIKES in models/studies/new_titles.py; "
        f"{source}: 'time_machine.later_days' {constant} LATER_DAYS in models/studies/new_titles.py"
    )


def test_replacements_of_old_keys_exist() -> None:
    keys = {key for key, _ in document.leaves(Settings.model_fields)}
    assert not keys & set(OLD_KEYS)
    assert set(moved.RENAMED.values()) <= keys
    for target in moved.CONSTANTS.values():
        file, name = target.split(": ")
        assert re.search(rf"^{name}\b.* = ", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), target


def test_settings_that_an_older_bundle_stored_are_still_read() -> None:
    index = load_settings().index
    older = {**index.model_dump(), "popularity_count": "count_positives_ever", "dims_per_block": 2, "soar_lambda": 1.5}
    assert Index.model_validate(moved.current("index", older)) == index
    assert moved.current("index", {"no_such_key": 1}) == {"no_such_key": 1}
