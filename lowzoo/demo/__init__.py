"""A page that is taught in the room: photograph a few things, name them, point, and take the result along.

`lowzoo.demo.teach` is what `lowzoo demo` calls. Pictures, names and what is learned stay on the phone.
"""

from typing import TYPE_CHECKING

from lowzoo.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from lowzoo.demo.functions import teach
    from lowzoo.demo.room import Visit

__all__ = ["Visit", "teach"]

__getattr__, __dir__ = lazy_attributes(__name__, {"Visit": "lowzoo.demo.room", "teach": "lowzoo.demo.functions"})
