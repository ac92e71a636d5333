"""Titles on offer by country and provider, from offers written by hand."""

import pyarrow as pa
import pytest

from indexing.bundle.bundle_files import OFFERS_SCHEMA
from serving.search.availability import Availability

OFFERS = [
    (0, "DE", "alpha", "flatrate"),
    (0, "DE", "alpha", "buy"),
    (0, "FR", "beta", "rent"),
    (3, "DE", "beta", "flatrate"),
    (3, "FR", "beta", "flatrate"),
    (5, "DE", "alpha", "rent"),
    (5, "DE", "beta", "ads"),
    (7, "US", "gamma", "free"),
]


@pytest.fixture(params=[True, False], ids=["dictionaries", "texts"])
def availability(request: pytest.FixtureRequest) -> Availability:
    columns = list(zip(*OFFERS, strict=True))
    offers = pa.table([pa.array(values) for values in columns], names=OFFERS_SCHEMA.names).cast(OFFERS_SCHEMA)
    if request.param:
        encoded = [offers[name].combine_chunks().dictionary_encode() for name in OFFERS_SCHEMA.names[1:]]
        offers = pa.table([offers["row"], *encoded], names=OFFERS_SCHEMA.names)
    return Availability(offers, 4)


@pytest.mark.parametrize(
    ("country", "providers", "expected"),
    [
        ("DE", None, [0, 3, 5]),
        ("DE", ["alpha"], [0, 5]),
        ("DE", ["beta"], [3, 5]),
        ("DE", ["beta", "alpha", "alpha"], [0, 3, 5]),
        ("FR", ["alpha"], []),  # offers something, but not there
        ("FR", ["unknown"], []),
        ("FR", ["unknown", "beta"], [0, 3]),
        ("US", None, [7]),
        ("DE", [], []),  # by one of none
        ("ZZ", None, []),
    ],
)
def test_rows_on_offer_by_one_of_the_providers(
    availability: Availability, country: str, providers: list[str] | None, expected: list[int]
) -> None:
    assert availability.rows(country, providers).tolist() == expected


def test_bundle_without_offers_has_nothing_on_offer() -> None:
    nothing = Availability(OFFERS_SCHEMA.empty_table(), 4)
    assert nothing.rows("DE").tolist() == []
    assert nothing.countries == frozenset()


def test_countries_are_those_with_an_offer(availability: Availability) -> None:
    assert availability.countries == {"DE", "FR", "US"}
