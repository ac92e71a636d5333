"""The server over a small bundle: answers, refusals, health, metrics and its request log."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from conf.loader import load_settings
from conf.settings import Serving, with_changes
from indexing.bundle.bundle import Bundle
from indexing.errors import BundleError
from indexing.publishing import publication
from indexing.publishing.storage import Store, open_store
from serving import server
from serving.http.request_log import JsonLines

OPTIONS: Serving = with_changes(
    load_settings(),
    {
        "serving.max_titles": 50,
        "serving.max_history_titles": 5,
        "serving.max_listed_titles": 4,
        "serving.max_body_bytes": 5000,
    },
).serving


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_bundle: Bundle) -> Store:
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(small_bundle.folder, root / small_bundle.version)
    made = open_store(str(root), str(root / "copies"))
    publication.publish(made, None)
    return made


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(server.make_app(store, OPTIONS), raise_server_exceptions=False) as opened:
        yield opened


def test_recommend_answers_with_reasons(client: TestClient) -> None:
    body = {"history": [1003, {"title_id": 1010, "weight": 0.6, "age_days": 5}], "country": "DE", "k": 4}
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 200
    response = answer.json()
    assert response["bundle_version"] == "20240514T000000Z-m7"
    assert (response["basis"], response["dial"], len(response["items"])) == ("history", 0, 4)
    assert [item["rank"] for item in response["items"]] == [1, 2, 3, 4]
    assert all(item["title_id"] % 2 == 0 and item["title_id"] != 1010 for item in response["items"])
    assert {reason["title_id"] for item in response["items"] if item["why"] for reason in item["why"]["titles"]} <= {
        *(1003, 1010)
    }


def test_dial_takes_a_setting_or_a_number(client: TestClient) -> None:
    popular, gems, off = (
        client.post("/recommend", json={"history": [1003], "dial": dial, "why": False}).json()
        for dial in ("popular", "gems", 0)
    )
    assert popular["dial"] > off["dial"] == 0 > gems["dial"]
    assert popular["items"] != gems["items"]
    assert all(item["why"] is None for item in gems["items"])


def test_response_without_history_notes_that_it_is_popular(client: TestClient) -> None:
    response = client.post("/recommend", json={"country": "US", "k": 2}).json()
    assert response["basis"] == "popular"
    assert [item["title_id"] % 4 for item in response["items"]] == [0, 0]  # as in the US
    assert response["note"] == "no history: this is what is popular among what is on offer in US"


def test_similar_titles(client: TestClient) -> None:
    response = client.post("/similar", json={"title_ids": [1003, 77], "k": 3, "exclude": [1004]}).json()
    assert (response["basis"], len(response["items"]), response["unknown_title_ids"]) == ("titles", 3, [77])


@pytest.mark.parametrize(
    ("path", "body", "where", "message"),
    [
        ("/recommend", {"history": [1] * 6}, "history", "at most 5 entries, found 6"),
        ("/recommend", {"exclude": [1] * 5}, "exclude", "at most 4 entries, found 5"),
        ("/recommend", {"candidates": [1] * 5}, "candidates", "at most 4 entries, found 5"),
        ("/recommend", {"country": "DE", "providers": ["a"] * 201}, "providers", "at most 200 entries, found 201"),
        ("/recommend", {"providers": ["a"]}, "providers", "expected a country too"),
        ("/recommend", {"k": 51}, "k", "expected 1 to 50 titles, not 51"),
        ("/recommend", {"k": 0}, "k", "greater than or equal to 1"),
        ("/recommend", {"country": "Germany"}, "country", "should match pattern"),
        ("/recommend", {"dial": "loud"}, "dial", "no setting 'loud'; there are popular"),
        ("/recommend", {"history": ["x"]}, "history", "valid integer"),
        ("/recommend", {"history": [{"title_id": 1, "weight": "x"}]}, "weight", "valid number"),
        ("/recommend", {"history": [2**70]}, "history", "less than"),
        ("/recommend", {"hystory": []}, "hystory", "Extra inputs are not permitted"),
        ("/similar", {}, "title_ids", "Field required"),
        ("/similar", {"title_ids": [1] * 6}, "title_ids", "at most 5 entries, found 6"),
    ],
)
def test_bad_request_is_answered_with_field_and_reason(
    client: TestClient, path: str, body: dict[str, Any], where: str, message: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert where in problem["loc"]
    assert message in problem["msg"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"dial": NaN}', 422),
        ('{"history": [1', 422),
        ("[" * 2000, 400),  # too deep to be parsed
        ('{"history": [' + "1, " * 3000 + "1]}", 413),
    ],
)
def test_body_that_is_no_request_is_refused(client: TestClient, body: str, status: int) -> None:
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_body_without_a_length_is_cut_off_too(client: TestClient) -> None:
    answer = client.post("/recommend", content=(b" " * 1000 for _ in range(10)))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "the body is larger than 5000 bytes"}


def test_health_names_the_served_bundle(client: TestClient) -> None:
    response = client.get("/health").json()
    assert (response["status"], response["bundle_version"], response["titles"]) == (
        "serving",
        "20240514T000000Z-m7",
        300,
    )
    assert (response["model_version"], response["as_of"], response["refused_version"]) == (7, "2024-05-14", None)
    assert set(response["dial"]) == {"popular", "balanced", "discover", "gems"}


def test_api_is_described_as_openapi_and_as_a_page(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/recommend", "/similar", "/health", "/metrics"}
    answer = schema["paths"]["/recommend"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/RetrieverResponse"}
    assert "swagger" in client.get("/docs").text


def test_metrics_count_requests_answers_and_bundles(store: Store) -> None:
    with TestClient(server.make_app(store, OPTIONS)) as client:
        client.post("/recommend", json={"history": [1003, 5], "k": 50, "candidates": [1004]})
        client.post("/recommend", json={"k": 0})
        client.get("/somewhere")
        lines = client.get("/metrics").text.splitlines()
    assert 'marquee_requests_total{path="/recommend",status="200"} 1.0' in lines
    assert 'marquee_requests_total{path="/recommend",status="422"} 1.0' in lines
    assert 'marquee_requests_total{path="other",status="404"} 1.0' in lines
    assert 'marquee_request_seconds_count{path="/recommend"} 2.0' in lines
    assert 'marquee_answers_total{basis="history",plan="exact"} 1.0' in lines
    assert "marquee_unknown_titles_total 1.0" in lines
    assert "marquee_short_answers_total 1.0" in lines
    assert 'marquee_bundle{version="20240514T000000Z-m7"} 1.0' in lines
    assert "marquee_bundle_titles 300.0" in lines


def test_one_json_line_per_request_holds_nothing_personal(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "marquee.requests"):
        sent = client.post("/recommend", json={"history": [1234], "country": "DE", "k": 3})
        client.post("/recommend", json={"history": [1234], "k": 0})
    good, bad = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert good.pop("ms") > 0
    assert good.pop("at") > 1.7e9
    assert good == {
        "level": "INFO",
        "message": "request",
        "request_id": sent.headers["x-request-id"],
        "method": "POST",
        "path": "/recommend",
        "status": 200,
        "bundle": "20240514T000000Z-m7",
        "basis": "history",
        "plan": "exact",
        "titles": 3,
        "unknown": 0,
        "country": "DE",
    }
    assert (bad["status"], bad["path"]) == (422, "/recommend")
    assert "1234" not in json.dumps(bad)


def test_without_a_bundle_there_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "limit_threads", lambda _count: None)  # TensorFlow computes in this process already
    with pytest.raises(BundleError, match=r"nothing is published; run indexing\.build"):
        server.make_app(open_store(str(tmp_path), str(tmp_path)), OPTIONS)
    assert server.main(["--set", f"bundles.root={tmp_path}", "--port", "0"]) == 1
    assert "nothing is published" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--port", "seven"], ["--port", "-1"], ["--nothing"]])
def test_wrong_arguments_are_code_2(arguments: list[str], tmp_path: Path) -> None:
    try:
        code: Any = server.main(["--set", f"bundles.root={tmp_path}", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
