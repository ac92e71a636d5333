"""Common parts of every command line: options, exit codes, and one clear last line."""

import argparse
from datetime import date
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs import command
from jobs.errors import JobError


def _done(settings: Settings, arguments: argparse.Namespace) -> None:
    """Work that succeeds."""


def _parse_days(argv: list[str]) -> tuple[date, date]:
    options = command.parser("A job.")
    command.add_days(options)
    return command.parse_days(options, options.parse_args(argv))


def _run_failing(error: Exception) -> int:
    def fail(settings: Settings, arguments: argparse.Namespace) -> None:
        raise error

    return command.run(command.parser("A job."), fail, [])


def test_work_that_ends_exits_with_0() -> None:
    assert command.run(command.parser("A job."), _done, []) == 0


def test_work_may_choose_its_exit_code() -> None:
    assert command.run(command.parser("A job."), lambda settings, arguments: 3, []) == 3


def test_work_gets_the_settings_that_conf_and_set_make(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("seed: 7\nsimulate:\n  days: 3\n")
    seen = []

    def look(settings: Settings, arguments: argparse.Namespace) -> None:
        seen.append((settings.seed, settings.simulate.days, settings.simulate.users))

    options = ["--set", "seed=8", "--conf", str(tmp_path / "my.yaml"), "--set", "simulate.users=5", "--set", "seed=9"]
    assert command.run(command.parser("A job."), look, options) == 0
    assert seen == [(9, 3, 5)]


@pytest.mark.parametrize(
    "error",
    [JobError("events for 2024-05-01: no feed"), OSError("events for 2024-05-01: no feed")],
    ids=["job", "disk"],
)
def test_failure_exits_with_1_and_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_failing(error) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.endswith(": events for 2024-05-01: no feed\n")


def test_bug_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        _run_failing(ZeroDivisionError())


@pytest.mark.parametrize(
    ("options", "last_line"),
    [
        (["--set", "sed=1"], ": --set sed=1: unknown key 'sed'; did you mean 'seed'?\n"),
        (["--conf", "/none.yaml"], ": /none.yaml: [Errno 2] No such file or directory: '/none.yaml'\n"),
        (["--set", "simulate.first_day=2024-13-01"], None),
    ],
    ids=["unknown key", "missing file", "no such date"],
)
def test_unusable_settings_exit_with_2_before_any_work(
    options: list[str], last_line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    worked = []
    code = command.run(command.parser("A job."), lambda settings, arguments: worked.append(1), options)
    error = capsys.readouterr().err
    assert (code, worked, len(error.splitlines())) == (2, [], 1)
    if last_line:
        assert error.endswith(last_line)


def test_unknown_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.run(command.parser("A job."), _done, ["--nothing"])
    assert end.value.code == 2
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err


def test_help_exits_with_0_and_says_what_the_command_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.run(command.parser("Interactions. Reads stg_events."), _done, ["--help"])
    assert end.value.code == 0
    answer = capsys.readouterr().out
    assert "Interactions. Reads stg_events." in answer
    assert "--conf FILE" in answer
    assert "--set key.path=value" in answer


@pytest.mark.parametrize(
    ("argv", "days"),
    [
        (["--ds", "2024-02-29"], (date(2024, 2, 29), date(2024, 2, 29))),
        (["--from", "2024-04-30", "--to", "2024-05-02"], (date(2024, 4, 30), date(2024, 5, 2))),
        (["--to", "2024-05-02", "--from", "2024-05-02"], (date(2024, 5, 2), date(2024, 5, 2))),
    ],
)
def test_days_are_one_day_or_a_range(argv: list[str], days: tuple[date, date]) -> None:
    assert _parse_days(argv) == days


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give either --ds DATE or both --from DATE and --to DATE"),
        (["--from", "2024-05-01"], "give either --ds DATE or both --from DATE and --to DATE"),
        (["--to", "2024-05-01"], "give either --ds DATE or both --from DATE and --to DATE"),
        (["--ds", "2024-05-01", "--from", "2024-05-01"], "give either --ds DATE or both --from DATE and --to DATE"),
        (["--ds", "2024-05-01", "--to", "2024-05-01"], "give either --ds DATE or both --from DATE and --to DATE"),
        (
            ["--ds", "2024-05-01", "--from", "2024-05-01", "--to", "2024-05-01"],
            "give either --ds DATE or both --from DATE and --to DATE",
        ),
        (["--from", "2024-05-02", "--to", "2024-05-01"], "--from 2024-05-02 lies after --to 2024-05-01"),
        (["--ds", "2023-02-29"], "argument --ds: '2023-02-29' is not a date like 2024-05-01"),
        (["--ds", "yesterday"], "argument --ds: 'yesterday' is not a date like 2024-05-01"),
        (["--ds", ""], "argument --ds: '' is not a date like 2024-05-01"),
        (["--from", "01.05.2024", "--to", "2024-05-01"], "argument --from: '01.05.2024' is not a date like 2024-05-01"),
        (["--ds", "2024-05-01T00:00:00"], "argument --ds: '2024-05-01T00:00:00' is not a date like 2024-05-01"),
    ],
)
def test_days_that_make_no_range_exit_with_2(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        _parse_days(argv)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f": error: {message}")
