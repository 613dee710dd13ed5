"""What is known of a family, told where one of its networks is refused."""

import contextlib
from collections.abc import Iterator

from lowzoo.catalog.families import OK, family_of
from lowzoo.errors import LowzooError
from lowzoo.export.bounds import ParityError
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


@contextlib.contextmanager
def known_reason(resolved: Resolved, spec: ExportSpec) -> Iterator[None]:
    """Add to a refusal that the family is known not to export to the format, and why.

    Raises:
        LowzooError: What the block raises, with that.
    """
    try:
        yield
    except ParityError:
        raise
    except LowzooError as error:
        cfg = getattr(resolved.model, "pretrained_cfg", None) or {}
        family = family_of(cfg.get("architecture", ""))
        reason = family.results.get(spec.format, OK) if family else OK
        if family is None or reason == OK:
            raise
        known = f"; known of its family {family.name}, tried on {family.tried}: {reason}"
        raise type(error)(f"{error.message}{known}", error.remedy) from error
