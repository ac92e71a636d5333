"""The gate's page: the verdict in its headline, a row per check, intervals drawn to one scale per group."""

import re
from datetime import date

import pytest

from models.gating import gate_page
from models.gating.gate_results import OVERRIDE, PROMOTE, REFUSE, Verdict
from models.gating.gate_rules import Check

NIGHT = date(2024, 5, 14)
GAINED = Check(
    *("overall", "all", "all", "recall", 20, 0.21, 0.20, 0.01, -0.01, 0.04, 1234, -0.02, True, True),
    "by 0.0100 on average",
)
UNCLEAR = Check(
    *("overall", "all", "all", "ndcg", 20, 0.11, 0.11, -0.02, -0.04, 0.0, 1234, -0.02, True, False),
    "too few users",
)
LINES = Check(
    *("data", "all", "all", "lines", 0, 1234567.0, None, None, None, None, 0, 1000.0, False, True),
    "more than <1,000>",
)


def rows_of(page: str) -> list[str]:
    """The text of each row of the tables, without tags, cells apart by a bar."""
    rows = re.findall(r"<tr>(<td>.*?)</tr>", page, re.DOTALL)
    cells = [re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [" | ".join(re.sub(r"<.*?>|\s+", " ", cell).strip() for cell in row) for row in cells]


@pytest.mark.parametrize(
    ("decision", "headline"),
    [
        (PROMOTE, "marquee@2 is promoted"),
        (REFUSE, "marquee@2 is not promoted"),
        (OVERRIDE, "marquee@2 is promoted by override"),
    ],
)
def test_headline_is_the_verdict(decision: str, headline: str) -> None:
    page = gate_page.render(Verdict(NIGHT, "marquee@2", "marquee@1", decision, "because", [GAINED]))
    assert f"<h1>{headline}</h1>" in page
    assert "Night of 2024-05-14; compared with marquee@1." in page
    # Only the page of a refusal says how to override it.
    assert ("python -m models.gate --ds 2024-05-14 --override" in page) is (decision == REFUSE)


def test_each_check_has_a_row_with_its_figures() -> None:
    page = gate_page.render(Verdict(NIGHT, "marquee@2", "als", REFUSE, "lines", [GAINED, UNCLEAR, LINES]))
    assert rows_of(page) == [
        "recall@20 | 0.2100 | 0.2000 | +0.0100 | -0.0100 to +0.0400 |  | 1,234 | -0.0200 | pass : by 0.0100 on average",
        "ndcg@20 | 0.1100 | 0.1100 | -0.0200 | -0.0400 to +0.0000 |  | 1,234 | -0.0200 | not judged : too few users",
        # Nothing is compared in this group, so it has no columns of differences. Figures from 1000 on are rounded.
        "lines | 1,234,567 |  | 1,000 | FAIL : more than &lt;1,000&gt;",
    ]
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["All users", "Data of the night"]


def test_intervals_are_drawn_to_the_widest_of_their_group() -> None:
    page = gate_page.render(Verdict(NIGHT, "marquee@2", "als", PROMOTE, "all passed", [GAINED, UNCLEAR]))
    # 0 is at 62, and the widest edge, 0.04, is 58 pixels from it: -0.01 is at 62 - 14.5, 0.01 at 62 + 14.5.
    assert re.findall(r'x1="([\d.]+)" x2="([\d.]+)" y1="7"', page) == [("47.5", "120.0"), ("4.0", "62.0")]
    assert re.findall(r'cx="([\d.]+)"', page) == ["76.5", "33.0"]
