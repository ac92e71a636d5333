"""What encoders raise. Says what was expected, what came, and what to do."""


class EncoderError(ValueError):
    """An encoder's files are missing, unfit or of a kind that is not supported."""


class PosterError(ValueError):
    """A poster can't be used; the message is the reason, one short line."""
