"""The lists that `serving.show` prints after a night: user, settings of the dial, reasons."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.settings import Settings, with_changes
from indexing.bundle.bundle import Bundle
from models.errors import ModelError
from serving import show
from serving.response.response import Item, Reason, RetrieverResponse, Why

USERS = pa.schema(
    [
        *(("user_id", pa.string()), ("country", pa.string()), ("history_title_ids", pa.list_(pa.int64()))),
        *(("history_weights", pa.list_(pa.float32())), ("history_ages_days", pa.list_(pa.float32()))),
    ]
)


@pytest.fixture
def users(tmp_path: Path, settings_in: Callable[[Path], Settings]) -> Settings:
    """Users a, b and c with histories of one, two and three titles, padded to four."""
    rows = [
        {
            **{"user_id": user, "country": "FR", "history_title_ids": [*range(1000, 1000 + n), *[-1] * (4 - n)]},
            **{"history_weights": [1.0] * n + [0.0] * (4 - n), "history_ages_days": [2.0] * n + [0.0] * (4 - n)},
        }
        for n, user in enumerate("abc", start=1)
    ]
    settings = with_changes(settings_in(tmp_path), {"report.root": str(tmp_path / "reports")})
    write_deltalake(f"{settings.lake.root}/training_users", pa.Table.from_pylist(rows, schema=USERS))
    return settings


def test_user_with_median_history_is_shown_unless_one_is_named(users: Settings) -> None:
    assert show.find_user(users, None) == show.ShownUser("b", "FR", [(1000, 1.0, 2.0), (1001, 1.0, 2.0)])
    assert show.find_user(users, "a").history == [(1000, 1.0, 2.0)]
    with pytest.raises(ModelError, match="no user unknown"):
        show.find_user(users, "unknown")


def test_dial_is_shown_at_its_ends_and_in_the_middle() -> None:
    named = {"gems": -2.0, "popular": 1.5, "balanced": 0.0, "discover": -0.8}
    assert show.three_settings(named) == ["popular", "balanced", "gems"]
    assert show.three_settings({"only": 0.3}) == ["only"]


def test_list_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    why = Why((Reason(1, "Heat", 0.5), Reason(2, "Ronin", 0.2)), ("Crime",), ("heist",), ("Robert De Niro",))
    item = Item(1, 3, "Thief", "movie", date(2024, 6, 1), 2024, True, 1.234, why)
    show.print_response(RetrieverResponse("v", 1, "history", "a note", -0.5, "exact", (), (item,)), "gems")
    shown = capsys.readouterr().out
    for text in ("dial gems: -0.50", "Thief (2024, not yet out)", "1.23", "Heat, Ronin", "Crime, heist", "a note"):
        assert text in shown, text


def test_locations_name_bundle_and_pages_that_are_there(
    users: Settings, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(users.report.root) / "2024-05-14" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("")
    show.print_locations(users, small_bundle, date(2024, 5, 14))
    shown = capsys.readouterr().out
    assert f"file://{page}" in shown
    assert "gate.html" not in shown
    assert str(small_bundle.folder) in shown
    assert f"mlflow server --backend-store-uri {users.mlflow.tracking_uri}" in shown
