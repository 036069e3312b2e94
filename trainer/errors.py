"""What can go wrong in this package. Every message tells a user what to do."""


class TrainerError(Exception):
    """Base of all errors of this package."""


class DataError(TrainerError):
    """The training data cannot be used."""


class RefusedError(TrainerError):
    """What was asked for was not done, and with good reason: the command ends with 1."""
