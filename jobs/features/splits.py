"""Splits of training examples: train, validation, test and held out.

By date, an example's split follows from the day from which it is known, counted back from the newest day: as nights
pass, examples move from test to validation to train. By last share, the last examples of each user are test, those
before them validation. `held_out` are examples that would be in train, of the titles that
`examples.held_out_titles_share` keeps out of training.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, Window
from pyspark.sql import functions as F

from conf.settings import Examples

SPLITS = ("train", "validation", "test", "held_out")


def is_held_out(title_id: Column, share: float, seed: int) -> Column:
    """True for titles that are kept out of training: the same titles for the same seed, whatever the catalogue."""
    return F.pmod(F.xxhash64(title_id, F.lit(seed)), F.lit(1_000_000)) < F.lit(round(share * 1_000_000))


def validation_from(newest: date, options: Examples) -> date:
    """The first day of validation, by date."""
    return test_from(newest, options) - timedelta(days=options.validation_days)


def test_from(newest: date, options: Examples) -> date:
    """The first day of test, by date."""
    return newest + timedelta(days=1 - options.test_days)


def split_of(newest: date, options: Examples, seed: int) -> Column:
    """The split of each example by `examples.split`; by last share the frame must have all examples of its users."""
    if options.split == "none":
        split = F.lit("train")
    elif options.split == "by_date":
        known_ds = F.col("known_ds")
        split = F.when(known_ds >= F.lit(test_from(newest, options)), "test")
        split = split.when(known_ds >= F.lit(validation_from(newest, options)), "validation").otherwise("train")
    else:
        of_user = Window.partitionBy("user_id")
        count = F.count("*").over(of_user)
        count_later = count - F.row_number().over(of_user.orderBy("event_time", "title_id", "known_ds"))
        count_test = F.floor(count * options.test_share)
        count_kept = F.floor(count * (options.test_share + options.validation_share))
        split = F.when(count_later < count_test, "test").when(count_later < count_kept, "validation").otherwise("train")
    held_out = is_held_out(F.col("title_id"), options.held_out_titles_share, seed)
    return F.when((split == "train") & held_out, "held_out").otherwise(split)


def days_to_relabel(built: Sequence[date], days: Sequence[date], options: Examples) -> list[date]:
    """The days built earlier whose examples may change their split, by date, when `days` are built."""
    if options.split != "by_date" or not built:
        return []
    newest = max(*built, *days)
    # Days that are not in train as of the newest day so far, or will not be after this build: a few at most.
    first = min(validation_from(max(built), options), validation_from(newest, options))
    return [ds for ds in built if ds >= first and ds not in set(days)]
