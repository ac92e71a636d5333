"""Names of recommenders as tables, lists and pages have them."""

ALS_BASELINE = "als"  # the recommender being replaced
REGISTERED_MODEL = "marquee"  # in MLflow's registry


def registered_name(version: int) -> str:
    """Name of a registered version: marquee@3."""
    return f"{REGISTERED_MODEL}@{version}"
