"""Ids that every vocabulary shares: the first word of each kind has FIRST_ID."""

PADDING_ID, UNKNOWN_ID, FIRST_ID = 0, 1, 2
