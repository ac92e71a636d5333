"""Errors of encoders. Messages say what was expected, what was found, and what to do."""


class EncoderError(ValueError):
    """An encoder's files are missing, unfit or of a kind that is not supported."""


class PosterError(ValueError):
    """A poster can't be used; the message is the reason, one short line."""
