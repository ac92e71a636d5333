"""Simulated users: tastes, countries, subscriptions, activity, dates of joining and consents."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conf.settings import Simulate
from jobs.sources.simulator.simulated_world import (
    COUNTRIES,
    IS_SUBSCRIPTION,
    MAINSTREAM_ARCHETYPES,
    PROVIDERS,
    Ints,
    Mixing,
    Purpose,
    archetypes,
    mix_tastes,
    pick,
    stream,
    streams,
)
from lake.arrays import Flags, Floats

_USER_MIXING = Mixing(niche_share=0.1, max_second_weight=0.7, noise=0.25)
_ACTIVITY_SPREAD = 1.1  # standard deviation of log activity: the busiest tenth has about half of the sessions
_SUBSCRIBED_SHARE = 0.3
_CONSENT_KNOWN_SHARE = 0.85
_MARKETING_SHARE = 0.4
_EMAIL_SHARE = 0.6


@dataclass(frozen=True)
class Users:
    """All users up to the last day, in the order in which they joined; arrays are per user."""

    user_ids: list[str]
    archetypes: Ints  # the first of those in a user's taste
    tastes: Floats  # [users, dim]
    countries: Ints  # index into COUNTRIES
    subscriptions: Flags  # [users, providers]
    activity: NDArray[np.float64]  # sessions relative to an average user's
    mainstreamness: Floats  # from 0 to 1: how strongly popular titles are shown to and liked by the user
    joined_days: Ints  # relative to the first day; 0 for users who joined before

    def count_joined(self, day: int) -> int:
        """Number of users who joined by `day`; they are the first ones."""
        return int(np.searchsorted(self.joined_days, day, side="right"))


def build_users(seed: int, simulate: Simulate) -> Users:
    """The users as of the last day; a user's attributes do not depend on how many days there are."""
    joins = stream(seed, Purpose.JOINS).poisson(simulate.new_users_per_day, size=simulate.days - 1)
    joined_days = np.concatenate([np.zeros(simulate.users, np.int64), np.repeat(np.arange(1, simulate.days), joins)])
    count = len(joined_days)
    rngs = streams(seed, Purpose.USERS)
    first, tastes = mix_tastes(rngs, archetypes(seed, simulate.taste_dims), _USER_MIXING, count)
    is_niche = first >= MAINSTREAM_ARCHETYPES
    mainstreamness = next(rngs).beta(2, 3, size=count)
    mainstreamness[is_niche] *= 0.3
    return Users(
        user_ids=_pseudonyms(seed, count),
        archetypes=first,
        tastes=tastes,
        countries=pick(np.array([country.user_share for country in COUNTRIES]), next(rngs).random(count)),
        subscriptions=(next(rngs).random((count, len(PROVIDERS)), dtype=np.float32) < _SUBSCRIBED_SHARE)
        & IS_SUBSCRIPTION,
        activity=np.exp(_ACTIVITY_SPREAD * next(rngs).standard_normal(count) - _ACTIVITY_SPREAD**2 / 2),
        mainstreamness=mainstreamness.astype(np.float32),
        joined_days=joined_days,
    )


def _pseudonyms(seed: int, count: int) -> list[str]:
    """Distinct user ids that do not reveal the order of joining: SplitMix64 (Steele et al. 2014) of the row.

    It is a bijection of 64-bit numbers, so that no two users share an id.
    """
    with np.errstate(over="ignore"):
        state = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return [f"u{number:016x}" for number in state.tolist()]


def consent_lines(seed: int, users: Users) -> Iterator[bytes]:
    """Lines of the consents feed; some users have none, some have the hash of an email address."""
    count = len(users.user_ids)
    rngs = streams(seed, Purpose.CONSENTS)
    is_known = (next(rngs).random(count) < _CONSENT_KNOWN_SHARE).tolist()
    marketing = (next(rngs).random(count) < _MARKETING_SHARE).tolist()
    has_email = (next(rngs).random(count) < _EMAIL_SHARE).tolist()
    for user in range(count):
        if not is_known[user]:
            continue
        user_id = users.user_ids[user]
        email = f',"hashed_email":"{_hashed(f"{user_id}@example.com")}"' if has_email[user] else ""
        yield f'{{"user_id":"{user_id}","marketing":{"true" if marketing[user] else "false"}{email}}}'.encode()


def _hashed(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
