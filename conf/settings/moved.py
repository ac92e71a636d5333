"""Settings keys of earlier versions, so that the loader refuses each by name and says what replaces it."""

RENAMED = {
    "time_machine.known_likes": "backtest.known_likes",
    "time_machine.later_days": "backtest.later_days",
    "gate.max_unmet_share": "gate.max_unseen_share",
    "position_bias.appeal_power": "position_bias.debiased_popularity_power",
}

# Key to "FILE: NAME": the constant that took the setting's place, with its value.
CONSTANTS: dict[str, str] = {}

# Key to the reason why nothing takes its place.
REMOVED: dict[str, str] = {}


def replacement(key: str) -> str | None:
    """The sentence part that says what became of a key, or None for a key that never was one."""
    if key in RENAMED:
        return f"'{key}' is now '{RENAMED[key]}'"
    if key in CONSTANTS:
        file, name = CONSTANTS[key].split(": ")
        return f"'{key}' is no longer a setting: it is the constant {name} in {file}"
    if key in REMOVED:
        return f"'{key}' was removed: {REMOVED[key]}"
    return None
