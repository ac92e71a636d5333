"""The simulated streaming guide: simulate."""

from datetime import date
from typing import Annotated

from pydantic import Field

from conf.settings.section import Positive, Section, Share


class Simulate(Section):
    first_day: date = Field(description="first day of the feeds")
    days: Positive = Field(description="days of feeds")
    users: Positive = Field(description="users on the first day")
    new_users_per_day: Annotated[float, Field(ge=0)] = Field(description="users who join on a day, on average")
    titles: Positive = Field(description="titles of the catalogue on the first day, announced ones included")
    releases_per_day: Annotated[float, Field(ge=0)] = Field(description="releases on a day, on average")
    announced_days_ahead: Annotated[int, Field(ge=0)] = Field(
        description="days before its release that a title enters the catalogue"
    )
    gem_share: Share = Field(description="share of titles that are good and little known")
    taste_dims: Annotated[int, Field(ge=2)] = Field(description="dimensions of taste")
    sessions_per_user_day: Annotated[float, Field(gt=0)] = Field(description="sessions of a user on a day, on average")
    impressions_per_session: Positive = Field(description="titles shown in a session")
    popularity_feedback: Annotated[float, Field(ge=0)] = Field(
        description="exponent on past clicks in what the simulated recommender shows"
    )
    explore_share: Share = Field(description="share of sessions with lists in random order, for propensities")
    late_share: Share = Field(description="share of events delivered late")
    max_days_late: Positive = Field(description="most days that an event is late")
    duplicated_share: Share = Field(description="share of events delivered twice")
    malformed_share: Share = Field(description="share of feed lines that are malformed")
    missing_plot_share: Share = Field(description="share of titles without a plot")
    missing_poster_share: Share = Field(description="share of titles without a poster")
    events_per_file: Positive = Field(description="events of a feed file")
