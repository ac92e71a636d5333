"""Errors that a person can act on."""


class BundleError(Exception):
    """A bundle can't be built, published or used; the message is the one clear last line a person sees.

    Says what was expected, what came, and what to do.
    """


class RequestError(ValueError):
    """What was asked of a bundle makes no sense; `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
