"""Retries of writes that conflict with another writer's."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from lake.errors import LakeError

log = logging.getLogger("marquee")
Result = TypeVar("Result")


def retry_conflicts(
    table: str, attempts: int, conflicts: tuple[type[Exception], ...], work: Callable[[], Result]
) -> Result:
    """Do `work`; where it raises one of `conflicts`, do it again from its beginning, `attempts` times at most.

    Raises LakeError when every attempt lost.
    """
    last: Exception | None = None
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except conflicts as error:
            last, name = error, type(error).__name__
            log.info("%s: another writer came first (attempt %d of %d): %s", table, attempt, attempts, name)
            # Waits are random, or two writers would conflict again.
            time.sleep(random.uniform(0.1, 0.5) * 2 ** min(attempt, 4))
    raise LakeError(f"{table}: another writer kept changing it through {attempts} attempts; run again later") from last
