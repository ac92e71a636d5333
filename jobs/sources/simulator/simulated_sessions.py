"""Simulated sessions in batches: impressions by the old recommender, clicks, and the actions after a click.

A batch holds at most one session per user, so that each session knows what the user consumed in the sessions before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from conf.settings import Simulate
from jobs.sources.simulator.simulated_catalogue import SimulatedCatalogue
from jobs.sources.simulator.simulated_users import Users
from jobs.sources.simulator.simulated_world import (
    ARCHETYPES,
    COUNTRIES,
    PROVIDERS,
    Ints,
    Purpose,
    archetypes,
    stream,
)
from lake.arrays import Flags, Floats

# In causal order: where times tie, this order stands.
EVENT_TYPES = ("impression", "detail_view", "watchlist_add", "clickout", "seen", "like", "dislike", "rating")
IMPRESSION, DETAIL_VIEW, WATCHLIST_ADD, CLICKOUT, SEEN, LIKE, DISLIKE, RATING = range(len(EVENT_TYPES))
SURFACES = ("home", "popular", "similar_titles")
_SURFACE_SHARES = np.array([0.6, 0.2, 0.2])
VARIANTS = ("control", "explore")

BATCH_SESSIONS = 2048
DAY_MS = 86_400_000
_SESSION_LIMIT_MS = 1_800_000  # starts leave this much of the day, so that a session ends on the day it started
_IMPRESSION_GAP_MS = 300
_READING_MS = 25_000.0  # mean gap before each next action

_LOCAL_HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 6, 5, 5, 6, 8, 11, 15, 17, 15, 9, 4], np.float64)
_WEEKDAY_RHYTHM = (0.85, 0.82, 0.85, 0.9, 1.1, 1.3, 1.25)  # Monday first

# The old recommender.
_TABLE_SLOTS = 1 << 15
_ALL_USERS_TABLE = ARCHETYPES  # the table without taste, after the tables of the cells
_CELL_FOCUS = 3.0
_CANDIDATES_PER_IMPRESSION = 2
_FAME_DAYS = 14  # fame counts like this many days of an average title's clicks
_EXPECTED_CLICKS_PER_SESSION = 1.5
_CLICK_MEMORY = 0.95  # share of past clicks that still counts a day later
_LAUNCH_BOOST, _LAUNCH_DAYS = 2.0, 10.0
_RANKING_TASTE, _RANKING_FAME, _RANKING_NOISE = 2.0, 0.35, 0.7
_RECENT_TITLES = 32  # per user: the titles consumed last are not shown again

# The users. Enjoyment is their opinion of a title after watching it; appeal is its attraction before.
ENJOYMENT_AFFINITY, ENJOYMENT_QUALITY, _ENJOYMENT_NOISE = 3.0, 0.5, 0.5
_APPEAL_AFFINITY, _APPEAL_QUALITY, _APPEAL_FAME, _APPEAL_HOME, _APPEAL_BIAS = 4.5, 0.4, 0.5, 0.5, -3.7
EXAMINATION_DECAY = 0.5  # a title at rank r is looked at with probability r ** -decay
_LIKE_ABOVE, _DISLIKE_BELOW = 1.9, 0.8
_RATING_MIDDLE, _RATING_SLOPE = 2.3, 0.75
_SHARES = {"watchlist": 0.3, "clickout": 0.2, "clickout_subscribed": 0.3, "seen": 0.3, "verdict": 0.6, "rating": 0.25}


@dataclass(frozen=True)
class Events:
    """Columns of one batch, sessions together and in time order within each; arrays are per event."""

    users: Ints
    titles: Ints
    types: Ints
    times_ms: Ints  # since midnight UTC
    details: Ints  # index into `detail_texts`


def examination(impressions_per_session: int) -> Floats:
    """Probability [rank] that a title is looked at, from rank 1 on."""
    return np.arange(1, impressions_per_session + 1, dtype=np.float32) ** np.float32(-EXAMINATION_DECAY)


def detail_texts(simulate: Simulate, recommender_version: str) -> list[str]:
    """Optional fields of an event as JSON: none, the context of an impression, the provider, or the rating."""
    shown = [
        f',"surface":"{surface}","variant":"{variant}","recommender_version":"{recommender_version}","rank":{rank}'
        for surface in SURFACES
        for variant in VARIANTS
        for rank in range(1, simulate.impressions_per_session + 1)
    ]
    providers = [f',"provider_id":"{provider.provider_id}"' for provider in PROVIDERS]
    return ["", *shown, *providers, *(f',"rating":{half / 2}' for half in range(11))]


def _provider_base(simulate: Simulate) -> int:
    return 1 + len(SURFACES) * len(VARIANTS) * simulate.impressions_per_session


class Guide:
    """The guide over the simulated days; its state is clicks per title and recent titles per user, never events."""

    def __init__(self, seed: int, simulate: Simulate, catalogue: SimulatedCatalogue, users: Users) -> None:
        self._seed = seed
        self._simulate = simulate
        self._catalogue = catalogue
        self._users = users
        self._cell_tastes = archetypes(seed, simulate.taste_dims)
        self._origins = catalogue.origins.astype(np.int8)
        self._log_fame = np.log(catalogue.fame)
        self._examination = examination(simulate.impressions_per_session)
        sessions_per_day = simulate.users * simulate.sessions_per_user_day
        self._fame_clicks = _FAME_DAYS * _EXPECTED_CLICKS_PER_SESSION * sessions_per_day / simulate.titles
        self._clicks = np.zeros(len(catalogue.title_ids))  # decayed
        self._recent = np.full((len(users.user_ids), _RECENT_TITLES), -1, np.int32)
        self._next_recent = np.zeros(len(users.user_ids), np.int64)

    def day(self, day: int) -> Iterator[Events]:
        """Batches of one day; call it for the days in order, and read each day to its end."""
        rng = stream(self._seed, Purpose.SESSIONS, day)
        weekday = (self._simulate.first_day + timedelta(days=day)).weekday()
        rate = self._simulate.sessions_per_user_day * _WEEKDAY_RHYTHM[weekday]
        joined = self._users.count_joined(day)
        count_sessions = rng.poisson(rate * self._users.activity[:joined])
        display, tables = self._recommender(day)
        log_display = np.log(display + 1e-9).astype(np.float32)
        clicked = np.zeros(len(self._clicks), np.int64)
        starts = np.zeros(joined)  # of each user's last session, as a share of the day's sessions
        for ordinal in range(int(count_sessions.max(initial=0))):
            with_session = np.flatnonzero(count_sessions > ordinal)
            for first in range(0, len(with_session), BATCH_SESSIONS):
                users = with_session[first : first + BATCH_SESSIONS]
                # The next of n - ordinal uniform numbers in ascending order, given the one before.
                left = 1 / (count_sessions[users] - ordinal)
                starts[users] = 1 - (1 - starts[users]) * rng.random(len(users)) ** left
                start_ms = _clock_ms(starts[users], self._users.countries[users])
                events = self._sessions(rng, users, start_ms, tables, log_display)
                clicked += np.bincount(events.titles[events.types == DETAIL_VIEW], minlength=len(clicked))
                yield events
        self._clicks = self._clicks * _CLICK_MEMORY + clicked

    def _recommender(self, day: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Weights [released] of the recommender trained last night, and tables [cell, slot] of titles to draw from.

        They cover released titles only, so that they do not depend on how many titles are announced.
        """
        released = self._catalogue.count_released(day)
        age_days = day - self._catalogue.release_days[:released]
        past = self._fame_clicks * self._catalogue.fame[:released] + self._clicks[:released]
        display = past**self._simulate.popularity_feedback * (1 + _LAUNCH_BOOST * np.exp(-age_days / _LAUNCH_DAYS))
        fit = np.exp(_CELL_FOCUS * np.einsum("cd,td->ct", self._cell_tastes, self._catalogue.tastes[:released]))
        rng = stream(self._seed, Purpose.TABLES, day)
        weights = np.concatenate([display * fit, display[None]])
        # Systematic sampling: a title gets its share of slots; with less than one slot it is present on some days only.
        tables = np.empty((len(weights), _TABLE_SLOTS), np.int32)
        for row, cell_weights in enumerate(weights):
            cumulative = np.cumsum(cell_weights)
            at = (np.arange(_TABLE_SLOTS) + rng.random()) / _TABLE_SLOTS * cumulative[-1]
            tables[row] = np.minimum(np.searchsorted(cumulative, at, side="right"), released - 1)
        return display, tables

    def _sessions(
        self,
        rng: np.random.Generator,
        users: Ints,
        start_ms: Ints,
        tables: NDArray[np.int32],
        log_display: Floats,
    ) -> Events:
        """One session of each of `users`."""
        count, length = len(users), self._simulate.impressions_per_session
        is_explore = rng.random(count) < self._simulate.explore_share
        surfaces = np.searchsorted(np.cumsum(_SURFACE_SHARES)[:-1], rng.random(count), side="right")
        titles, affinity, is_shown = self._shown(rng, users, is_explore, tables, log_display)
        session, rank = np.nonzero(is_shown)
        shown_details = 1 + (surfaces[session] * 2 + is_explore[session]) * length + rank
        shown_titles = titles[session, rank]
        is_clicked = rng.random(len(session)) < self._click_probability(
            users[session], shown_titles, affinity[session, rank], rank
        )
        session_of_click = session[is_clicked]
        is_done, provider, half_stars = self._actions(
            rng, users[session_of_click], shown_titles[is_clicked], affinity[session, rank][is_clicked]
        )
        click_ms = _action_times(rng, session_of_click, is_done, length)
        self._remember(users[session_of_click], session_of_click, shown_titles[is_clicked], is_done)
        click, action = np.nonzero(is_done)
        base = _provider_base(self._simulate)
        details = np.zeros(is_done.shape, np.int64)
        details[:, DETAIL_VIEW] = shown_details[is_clicked]
        details[:, CLICKOUT] = base + provider
        details[:, RATING] = base + len(PROVIDERS) + half_stars
        sessions = np.concatenate([session, session_of_click[click]])
        offsets = np.concatenate([rank * _IMPRESSION_GAP_MS, click_ms[click, action]])
        order = np.argsort(sessions * DAY_MS + offsets, kind="stable")
        sessions = sessions[order]
        return Events(
            users=users[sessions],
            titles=np.concatenate([shown_titles, shown_titles[is_clicked][click]])[order],
            types=np.concatenate([np.zeros(len(session), np.int64), action])[order],
            times_ms=start_ms[sessions] + offsets[order],
            details=np.concatenate([shown_details, details[click, action]])[order],
        )

    def _shown(
        self,
        rng: np.random.Generator,
        users: Ints,
        is_explore: Flags,
        tables: NDArray[np.int32],
        log_display: Floats,
    ) -> tuple[Ints, Floats, Flags]:
        """Titles [session, rank], the users' affinities to them, and flags of the ranks that have a title."""
        length = self._simulate.impressions_per_session
        shape = (len(users), length * _CANDIDATES_PER_IMPRESSION)
        is_mainstream = rng.random(shape, dtype=np.float32) < self._users.mainstreamness[users][:, None]
        cell = np.where(is_mainstream, _ALL_USERS_TABLE, self._users.archetypes[users][:, None])
        candidates = tables[cell, rng.integers(_TABLE_SLOTS, size=shape)]
        candidates.sort(axis=1)
        is_out = np.zeros(shape, bool)
        is_out[:, 1:] = candidates[:, 1:] == candidates[:, :-1]
        recent = self._recent[users]
        for slot in range(_RECENT_TITLES):
            np.logical_or(is_out, candidates == recent[:, slot, None], out=is_out)
        affinity = np.einsum("scd,sd->sc", self._catalogue.tastes[candidates], self._users.tastes[users])
        noise = rng.standard_normal(shape, dtype=np.float32)
        score = _RANKING_TASTE * affinity + _RANKING_FAME * log_display[candidates] + _RANKING_NOISE * noise
        score[is_explore] = noise[is_explore]  # the choice of candidates and their order are random
        score[is_out] = -np.inf
        order = np.argsort(-score, axis=1, kind="stable")[:, :length]
        take = (np.arange(len(users))[:, None], order)
        return candidates[take].astype(np.int64), affinity[take], np.isfinite(score[take])

    def _click_probability(self, users: Ints, titles: Ints, affinity: Floats, rank: Ints) -> Floats:
        fame = self._users.mainstreamness[users] * self._log_fame[titles]
        is_home = self._origins[titles] == self._users.countries[users]
        appeal = (
            _APPEAL_AFFINITY * affinity
            + _APPEAL_QUALITY * self._catalogue.quality[titles]
            + _APPEAL_FAME * fame
            + _APPEAL_HOME * is_home
            + _APPEAL_BIAS
        )
        probability: Floats = self._examination[rank] / (1 + np.exp(-appeal))
        return probability

    def _actions(
        self, rng: np.random.Generator, users: Ints, titles: Ints, affinity: Floats
    ) -> tuple[Flags, Ints, Ints]:
        """Actions after each click: flags [click, event type], the provider of clickouts, the rating in half stars."""
        count = len(users)
        chance = rng.random((count, len(EVENT_TYPES)), dtype=np.float32)
        offered = self._catalogue.offers[titles, self._users.countries[users]]
        subscribed = offered & self._users.subscriptions[users]
        has_subscribed: Flags = np.any(subscribed, axis=1)
        preferred = np.where(has_subscribed[:, None], subscribed, offered)
        provider = np.argmax(preferred * (rng.random(preferred.shape, dtype=np.float32) + 1), axis=1)
        enjoyment = (
            ENJOYMENT_AFFINITY * affinity
            + ENJOYMENT_QUALITY * self._catalogue.quality[titles]
            + _ENJOYMENT_NOISE * rng.standard_normal(count, dtype=np.float32)
        )
        is_done = np.zeros((count, len(EVENT_TYPES)), bool)
        is_done[:, DETAIL_VIEW] = True
        clickout_share = _SHARES["clickout"] + _SHARES["clickout_subscribed"] * has_subscribed
        is_done[:, CLICKOUT] = offered.any(axis=1) & (chance[:, CLICKOUT] < clickout_share)
        is_done[:, WATCHLIST_ADD] = chance[:, WATCHLIST_ADD] < _SHARES["watchlist"] * affinity
        is_done[:, SEEN] = chance[:, SEEN] < _SHARES["seen"] * (1 + is_done[:, CLICKOUT])
        is_done[:, LIKE] = is_done[:, SEEN] & (enjoyment > _LIKE_ABOVE) & (chance[:, LIKE] < _SHARES["verdict"])
        is_done[:, DISLIKE] = (
            is_done[:, SEEN] & (enjoyment < _DISLIKE_BELOW) & (chance[:, DISLIKE] < _SHARES["verdict"])
        )
        is_done[:, RATING] = is_done[:, SEEN] & (chance[:, RATING] < _SHARES["rating"])
        half_stars = np.clip(np.rint(2 * (_RATING_MIDDLE + _RATING_SLOPE * enjoyment)), 1, 10)
        return is_done, provider.astype(np.int64), half_stars.astype(np.int64)

    def _remember(self, users: Ints, sessions: Ints, titles: Ints, is_done: Flags) -> None:
        """Note the titles consumed: clicked out to or seen."""
        is_consumed = is_done[:, CLICKOUT] | is_done[:, SEEN]
        users, sessions, titles = users[is_consumed], sessions[is_consumed], titles[is_consumed]
        nth = np.arange(len(users)) - np.searchsorted(sessions, sessions)  # sessions are in ascending order
        self._recent[users, (self._next_recent[users] + nth) % _RECENT_TITLES] = titles
        np.add.at(self._next_recent, users, 1)


def _clock_ms(shares: NDArray[np.float64], countries: Ints) -> Ints:
    """Starts in milliseconds since midnight UTC for shares of the day's sessions: evenings, in each country's time."""
    clock = np.empty(len(shares))
    for index, country in enumerate(COUNTRIES):
        cumulative = np.concatenate([[0.0], np.cumsum(np.roll(_LOCAL_HOURS, -country.utc_offset_hours))])
        is_here = countries == index
        clock[is_here] = np.interp(shares[is_here], cumulative / cumulative[-1], np.arange(25) / 24)
    return (clock * (DAY_MS - _SESSION_LIMIT_MS)).astype(np.int64)


def _action_times(rng: np.random.Generator, sessions: Ints, is_done: Flags, impressions_per_session: int) -> Ints:
    """Milliseconds since the session's start [click, event type]: after the impressions, one click after another."""
    gaps = 1 + rng.exponential(_READING_MS, size=is_done.shape) * is_done
    within = np.cumsum(gaps, axis=1)
    ends = np.cumsum(within[:, -1])
    before = np.concatenate([[0.0], ends])[:-1]
    session_start = before[np.searchsorted(sessions, sessions)]
    since_start = impressions_per_session * _IMPRESSION_GAP_MS + (before - session_start)[:, None] + within
    times: Ints = np.minimum(since_start, _SESSION_LIMIT_MS - 1).astype(np.int64)
    return times
