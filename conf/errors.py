"""The base of all errors that a person can act on."""


class ActionableError(Exception):
    """A command can't do what was asked; `conf.command_line` shows the message as its one clear last line.

    The message says what was expected, what came, and what to do.
    """
