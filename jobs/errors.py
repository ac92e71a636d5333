"""The error of the jobs."""

from conf.errors import ActionableError


class JobError(ActionableError):
    """A job can't make its table or do its action."""
