"""Errors of building, publishing and using bundles."""

from conf.errors import ActionableError


class BundleError(ActionableError):
    """A bundle can't be built, published or used."""


class RequestError(ValueError):
    """A request to a bundle is invalid; `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
