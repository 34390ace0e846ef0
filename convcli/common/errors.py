"""The errors of every room: one line for the person, one exit code for the shell."""


class ConvError(Exception):
    """The work failed: a file, its data, or a resource.  One line: what, where, what to do."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(ConvError):
    """The command line or a kernel's text is at fault (exit code 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=2)
