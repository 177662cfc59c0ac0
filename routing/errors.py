"""Everything that Antiphon raises on purpose.

::

    AntiphonError
    ├── SettingsError         a configuration file, flag or environment variable is wrong
    ├── ModelError            a model file is missing, damaged or cannot be loaded
    ├── InvalidRequest        the caller sent something that cannot be honoured
    └── BackendError          a backend could not answer a turn
        ├── BackendUnavailable    it cannot be reached, or is going away
        ├── AtCapacity            it is full right now and said so at once
        └── UnsuitedTurn          it is well, and answers other turns than this one
"""


class AntiphonError(Exception):
    """Root of the tree. Raised only through its subclasses."""


class SettingsError(AntiphonError):
    """A setting is unknown or out of range. The program should stop and show the message."""


class ModelError(AntiphonError):
    """A model file is missing or damaged. ``antiphon models pull`` mends it."""


class InvalidRequest(AntiphonError):
    """The caller's request cannot be honoured; the message says what was expected and what came.

    ``code`` is a short machine-readable reason, ``param`` the path of the field at fault.
    The session goes on.
    """

    def __init__(self, message: str, *, code: str = "invalid_value", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class BackendError(AntiphonError):
    """A backend failed while answering. The same turn may be tried on another backend."""


class BackendUnavailable(BackendError):
    """The backend cannot be reached or is shutting down. Try another one now, this one later."""


class AtCapacity(BackendError):
    """The backend is full. Go elsewhere, or come back after ``retry_after_sec``."""

    def __init__(self, message: str, *, retry_after_sec: float) -> None:
        super().__init__(message)
        self.retry_after_sec = retry_after_sec


class UnsuitedTurn(BackendError):
    """The turn asks for what this backend does not do, or is beyond its limits. Try another one.

    It says nothing against the backend: the next turn may well be answered there.
    """
