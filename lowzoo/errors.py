"""The errors that users catch: `from lowzoo.base.errors import LowzooError`."""

from lowzoo.base.errors import LowzooError, LowzooWarning

__all__ = ["LowzooError", "LowzooWarning"]
