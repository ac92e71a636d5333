"""The nightly run: from one day's feeds to a served bundle, batch recommendations and a report.

Read this file from top to bottom to learn the system. Each task runs one command, which can be run by hand with the
same arguments; its module's docstring says what it reads and writes:

    check_feeds   wait for the day's feeds
    staging       feeds -> stg_events, stg_titles, stg_offers, stg_consents
    features      staging -> interactions, title statistics and features, user histories
    examples      features -> training_examples, training_users
    champion      align the registry's champion with the bundle that is served
    train         examples -> a registered model, the challenger, and its baselines
    evaluate      models -> evaluations, per segment
    gate          evaluations -> gate_results: is the challenger better than the champion?
    build_index   yes: challenger -> a verified bundle with its ANN index
    publish       yes: swap the pointer to that bundle; the challenger becomes the champion
    refresh       no:  build and publish the champion's index again, over today's catalogue
    recommend     live bundle -> recommendations, a list per user
    report        everything above -> report.html, also after a failure
    night         no work of its own: fails if any task failed

`{{ ds }}` is the day of the feeds. A scheduled run starts on the morning after it; a manual run gives it as its logical
date or in the parameter `ds`. Earlier days that the lake lacks, or whose files have changed, are loaded too, so the
next night makes up for a missed one.

If the feeds don't arrive in time the night fails, and yesterday's bundle is still served. Every task can be cleared
and run again.
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


@dag(
    dag_id="nightly",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(SETTINGS.airflow.nightly_schedule, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    params={**PARAMS, "ds": DAY_PARAM},
    tags=["marquee"],
)
def nightly() -> None:
    # Looks in <feeds.root> for the day's events, the catalogue and the offers until they are complete.
    check_feeds = WaitFor(
        task_id="check_feeds",
        module="jobs.check_feeds",
        arguments=arguments("--ds", "{ds}"),
        mode="reschedule",
        poke_interval=SETTINGS.airflow.feeds_poke_seconds,
        timeout=timedelta(seconds=SETTINGS.airflow.feeds_timeout_seconds),
        execution_timeout=None,
    )
    # Three Spark tasks make twelve tables: starting Spark once per table would take longer. Within a task
    # jobs.backfill makes independent tables side by side, and skips days that are complete.
    up_to_day = ("--to", "{ds}", "--skip-complete", "--only")
    staging = spark_task("staging", "backfill", arguments(*up_to_day, *STAGING), makes=STAGING)
    features = spark_task("features", "backfill", arguments(*up_to_day, *FEATURES), makes=FEATURES)
    examples = spark_task("examples", "backfill", arguments(*up_to_day, *EXAMPLES), makes=EXAMPLES)

    # The champion is the model of the served bundle. An interrupted promotion or rollback is completed first.
    champion = command_task("champion", "indexing.promote", ("align",))
    # Reads the training tables at pinned Delta versions through Petastorm; logs to MLflow and registers the challenger.
    train = training_task("train", "models.train")
    # Measures champion, challenger and baselines on the same held-out days; writes their lists for the report.
    evaluate = training_task("evaluate", "models.evaluate_night", ("--ds", "{ds}"), outlets=[table("evaluations")])
    # Compares challenger and champion, overall and by segment. Exit code 3 is a no: it skips build_index and publish.
    gate = command_task("gate", "models.gate", ("--ds", "{ds}"), outlets=[table("gate_results")])

    # Embeds titles, builds the ScaNN index and compares its lists with the model's; writes a folder in <bundles.root>.
    build_index = training_task("build_index", "indexing.promote", ("build", "--ds", "{ds}"))
    # Verifies the bundle, judges its index, swaps the pointer, and moves the registry's champion after it.
    publish = command_task("publish", "indexing.promote", ("promote", "--ds", "{ds}"), outlets=[table("bundle")])
    # Runs only where the gate said no, so that today's titles are in the served index in either case.
    refresh = training_task("refresh", "indexing.promote", ("refresh", "--ds", "{ds}"), trigger_rule="all_skipped")

    # Runs the served bundle's retriever on Spark, over all users; writes the table recommendations.
    recommend = spark_task(
        *("recommend", "recommend", arguments("--ds", "{ds}")),
        makes=("recommendations",),
        trigger_rule="none_failed_min_one_success",
    )
    # Writes <report.root>/<ds>/report.html whatever happened before.
    report = command_task("report", "review.report", ("--ds", "{ds}"), trigger_rule="all_done")
    # A run's state is that of its last tasks, and the report succeeds after failures too: this task fails for them.
    night = EmptyOperator(task_id="night", trigger_rule="none_failed")

    check_feeds >> staging >> features >> examples >> champion >> train >> evaluate >> gate
    gate >> build_index >> publish >> recommend >> report
    gate >> refresh >> recommend
    [check_feeds, staging, features, examples, champion, train, evaluate, gate] >> night
    [build_index, publish, refresh, recommend, report] >> night


nightly()
