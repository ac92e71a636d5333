"""Errors that a person can act on."""


class BundleError(Exception):
    """A bundle can't be built, published or used; the message is the one clear last line a person sees.

    Says what was expected, what came, and what to do.
    """
