"""The errors of what is made of a model and served."""

from conf.errors import ActionableError


class BundleError(ActionableError):
    """A bundle can't be built, published or used."""


class RequestError(ValueError):
    """What was asked of a bundle makes no sense; `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
