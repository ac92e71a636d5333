"""Base class of the errors that a user can act on."""


class ActionableError(Exception):
    """A command can't do its work; `conf.command_line` shows the message as its one clear last line.

    The message says what was expected, what came, and what to do.
    """
