"""The one family of errors that a user of lowzoo meets."""


class LowzooError(Exception):
    """Something the caller can mend; carries what is wrong and the remedy.

    The command line prints it as one line and exits with 2.

    Args:
        message: What is wrong and where, without a final full stop.
        remedy: What to do about it, an imperative sentence; may be empty.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}" if remedy else message)


def reason_of(error: BaseException) -> str:
    """What an error of another library says, in one line of at most 200 characters; its type if it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__
