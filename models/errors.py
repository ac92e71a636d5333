"""The error of the model commands."""

from conf.errors import ActionableError


class ModelError(ActionableError):
    """A model can't be trained, measured or read."""
