"""What a file is taken for, the same in a folder, an archive and a list."""

from collections.abc import Callable

from lowzoo.data.pixels import formats
from lowzoo.data.reading.found import HIDDEN, OWN, kinds_of
from lowzoo.io import marks

# Folders of systems and tools: archives from a Mac, thumbnails of a NAS, Windows' bin.
HIDDEN_FOLDERS = (".", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
BROKEN_LINK, NO_FILE = "broken links", "pipes, sockets or devices"


def kind_of(name: str, head: Callable[[int], bytes]) -> str:
    """What a file is that is no picture, as `Found` names it; empty for a picture.

    Args:
        name: Name of the file, perhaps behind folders with slashes; these are not looked at.
        head: Reads that many of its first bytes, or fewer; asked only where the name does not decide.
    """
    base = name.rpartition("/")[2]
    # A leading dot marks thumbnails and the "._name.jpg" that archives from a Mac carry beside each file.
    if base.startswith("."):
        return HIDDEN
    kind = formats.extension(base)
    if kind == "png" and marks.is_own_png(head(marks.HEAD_BYTES)):
        return OWN
    if kind in formats.PICTURE_EXTENSIONS or (not kind and formats.starts_like_picture(head(formats.HEAD_BYTES))):
        return ""
    return next(iter(kinds_of([base])))


def kind_of_member(name: str, head: Callable[[int], bytes]) -> str:
    """The same for a member of an archive, whose folders count as well; `name` as `member_name` gives it."""
    folders = name.split("/")[:-1]
    return HIDDEN if any(folder.startswith(HIDDEN_FOLDERS) for folder in folders) else kind_of(name, head)


def member_name(name: str) -> str:
    """The name of a member without what leads out of the archive: no leading slash, no `.` and no `..`."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
