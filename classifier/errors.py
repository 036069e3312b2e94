"""What can go wrong in this package. Every message tells a user what to do or what is wrong."""


class ClassifierError(Exception):
    """Base of all errors of this package."""


class ModelError(ClassifierError):
    """The model file cannot be used at all."""


class NoRoomError(ModelError):
    """The disk filled up while the model was compiled: that says nothing about the model."""


class CancelledError(ClassifierError):
    """The caller did not want the result any more."""


class ImageError(ClassifierError):
    """This one image cannot be classified; the others can."""


class UnreadableError(ImageError):
    """The file is gone, or the system did not give its bytes: that may be over some time."""


class UnsettledError(ImageError):
    """The file changed while it was read: it is still being written. Come back later."""
