"""The simulated streaming guide, a module per part: catalogue, users, sessions, delivery, titles feed, posters, truth.

`jobs.sources.simulate` runs them. Random numbers come from `simulated_world.stream`, one stream per purpose, so that
the same seed and settings give the same bytes and a longer simulation starts with the days of a shorter one.
"""
