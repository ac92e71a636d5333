"""A bundle end to end."""

from indexing.bundle import Bundle


def test_small(small_bundle: Bundle) -> None:

    assert small_bundle.count_candidates == 300
