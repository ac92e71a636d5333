"""Errors that a person can act on."""


class JobError(Exception):
    """A job can't do what was asked; the message is the one clear last line a person sees.

    Says what was expected, what came, and what to do.
    """
