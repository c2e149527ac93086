"""The one exception people are meant to read."""


class SuperticketsError(Exception):
    """Something the person at the keyboard can fix.

    The message is one sentence that names the thing, the file (if any) and the fix. The command line prints
    it without a traceback and exits with status 2; a sweep stores it in the failed run's record.
    """


class UnwritableError(SuperticketsError):
    """The run store cannot be written: no space left, a quota, no permission."""
