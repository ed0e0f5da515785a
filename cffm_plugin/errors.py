"""Errors of what a person gave, such as a name, a file or a key: a line that says what to do."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class ProcessFailedError(RuntimeError):
    """A process that was started for a job ended in an error of what a person gave."""


# What is raised here with a message for people. Other errors are the program's own.
USER_ERRORS = (KeyError, ValueError, OSError, ImportError, FloatingPointError, ProcessFailedError)


def message_of(error: BaseException) -> str | None:
    """What an error says to a person; None where it is the program's own.

    A ``KeyError`` of a dict holds nothing but the key, those that are meant for people a sentence.
    """
    if not isinstance(error, USER_ERRORS):
        return None
    message = text_of(error)
    return None if isinstance(error, KeyError) and " " not in message else message


def text_of(error: BaseException) -> str:
    """An error's message; ``str`` would put that of a ``KeyError`` in quotes."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def not_yaml(error: Exception) -> str:
    """What an error of reading YAML says, in a line; the library's own message has several."""
    mark = getattr(error, "problem_mark", None)
    place = "" if mark is None else f"line {mark.line + 1}: "
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{place}this is not YAML ({problem})"


def some(items: Sequence[Any], most: int = 5) -> str:
    """The first items, and how many more there are, for an error."""
    more = len(items) - most
    return ", ".join(map(str, items[:most])) + (f" and {more} more" if more > 0 else "")


@contextmanager
def errors_as_messages(debug: bool = False) -> Iterator[None]:
    """An error of what a person gave ends the process with its message on stderr, exit code 1.

    The program's own errors keep their traceback.

    Args:
        debug: all errors do.
    """
    try:
        yield
    except USER_ERRORS as error:
        message = message_of(error)
        if message is None or debug:
            raise
        sys.exit(message)
