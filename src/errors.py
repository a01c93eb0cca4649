"""The one exception that means: what the user gave us is wrong."""


class InputError(ValueError):
    """A file or a flag is not what it has to be.

    The message is one line: the file or flag, what was expected, what was found, and what to do.
    The front doors (`train.py`, `calcarine`) print it on standard error and exit with status 2.
    """


class FullDisk(InputError):
    """There is no space for what is to be written: nothing that was given is wrong, and the same again may do."""


def one_line(error: Exception) -> str:
    """What an exception says, on one line of at most 300 characters; its class where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
