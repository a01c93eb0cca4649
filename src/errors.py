"""The one exception that means: what the user gave us is wrong."""


class InputError(ValueError):
    """A file or a flag is not what it has to be.

    The message is one line: the file or flag, what was expected, what was found, and what to do.
    The front doors (`train.py`, `calcarine`) print it on standard error and exit with status 2.
    """
