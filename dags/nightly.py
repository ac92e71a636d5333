"""Every night from feeds to a served bundle.

`{{ ds }}` is the day whose feeds the night brings in: a scheduled run starts on the morning after it, and a run by
hand names it, as its logical date or in the parameter `ds`. Days up to it that the lake lacks, or whose files have
changed, are brought in too, so a missed night is made up for by the next.

Missing feeds are waited for; if they don't come the night fails and serving goes on with yesterday's bundle. Where the
gate says no, the champion stays: its index is built again over today's catalogue, so that today's titles are in it.
`night` is red where anything failed, and the report is written in any case.

An index is compared with the training graph as it is built, and its figures are judged by the gate before it is
published: `publish` swaps the pointer and moves the champion after it.

Each task can be cleared and run again. A few Spark tasks make several tables each, since a table of its own start of
Spark would cost ten seconds each on one machine; `jobs.backfill` runs independent tables side by side.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronDataIntervalTimetable, dag
from wiring import (
    DAY_PARAM,
    PARAMS,
    SETTINGS,
    WaitFor,
    arguments,
    command_task,
    default_args,
    spark_task,
    table,
    training_task,
)

STAGING = ("stg_events", "stg_titles", "stg_offers", "stg_consents")
FEATURES = ("interactions", "click_ranks", "title_stats", "vocabularies", "title_features", "user_histories")
EXAMPLES = ("training_examples", "training_users")
OWN = SETTINGS.airflow


@dag(
    dag_id="nightly",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(OWN.nightly_schedule, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    params={**PARAMS, "ds": DAY_PARAM},
    tags=["marquee"],
)
def nightly() -> None:
    check_feeds = WaitFor(
        task_id="check_feeds",
        module="jobs.check_feeds",
        arguments=arguments("--ds", "{ds}"),
        mode="reschedule",
        poke_interval=OWN.feeds_poke_seconds,
        timeout=timedelta(seconds=OWN.feeds_timeout_seconds),
        execution_timeout=None,
    )
    up_to_day = ("--to", "{ds}", "--skip-complete", "--only")
    staging = spark_task("staging", "backfill", arguments(*up_to_day, *STAGING), makes=STAGING)
    features = spark_task("features", "backfill", arguments(*up_to_day, *FEATURES), makes=FEATURES)
    examples = spark_task("examples", "backfill", arguments(*up_to_day, *EXAMPLES), makes=EXAMPLES)

    # A promotion or a rollback that was cut short is finished first: the champion is the model that is served.
    champion = command_task("champion", "indexing.promote", ("align",))
    train = training_task("train", "models.train")
    evaluate = training_task("evaluate", "models.evaluate_night", ("--ds", "{ds}"), outlets=[table("evaluations")])
    gate = command_task("gate", "models.gate", ("--ds", "{ds}"), outlets=[table("gate_results")])

    build_index = training_task("build_index", "indexing.promote", ("build", "--ds", "{ds}"))
    publish = command_task("publish", "indexing.promote", ("promote", "--ds", "{ds}"), outlets=[table("bundle")])
    refresh = training_task("refresh", "indexing.promote", ("refresh", "--ds", "{ds}"), trigger_rule="all_skipped")

    recommend = spark_task(
        *("recommend", "recommend", arguments("--ds", "{ds}")),
        makes=("recommendations",),
        trigger_rule="none_failed_min_one_success",
    )
    report = command_task("report", "review.report", ("--ds", "{ds}"), trigger_rule="all_done")
    night = EmptyOperator(task_id="night", trigger_rule="none_failed")

    check_feeds >> staging >> features >> examples >> champion >> train >> evaluate >> gate
    gate >> build_index >> publish >> recommend >> report
    gate >> refresh >> recommend
    [check_feeds, staging, features, examples, champion, train, evaluate, gate] >> night
    [build_index, publish, refresh, recommend, report] >> night


nightly()
