"""The simulated streaming guide: simulate."""

from datetime import date
from typing import Annotated

from pydantic import Field

from conf.settings.section import Positive, Section, Share


class Simulate(Section):
    first_day: date
    days: Positive
    users: Positive  # on the first day
    new_users_per_day: Annotated[float, Field(ge=0)]
    titles: Positive  # in the catalogue on the first day, those announced but not yet released among them
    releases_per_day: Annotated[float, Field(ge=0)]
    announced_days_ahead: Annotated[int, Field(ge=0)]  # a title enters the catalogue this long before its release
    gem_share: Share
    taste_dims: Annotated[int, Field(ge=2)]
    sessions_per_user_day: Annotated[float, Field(gt=0)]
    impressions_per_session: Positive
    popularity_feedback: Annotated[float, Field(ge=0)]  # exponent on past clicks in what the old recommender shows
    explore_share: Share  # of sessions that see titles in random order, for propensities
    late_share: Share
    max_days_late: Positive
    duplicated_share: Share
    malformed_share: Share
    missing_plot_share: Share
    missing_poster_share: Share
    events_per_file: Positive
