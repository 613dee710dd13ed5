"""The link that devices open, and its QR code."""

import sys

from lowzoo.base.progress import Say


def invite(url: str, say: Say, *, lan: bool, secure: bool, insecurely: str) -> None:
    """Say where the page is.

    Args:
        url: The link.
        say: Takes lines; the command line's own gets a code on stderr too.
        lan: Whether other devices reach it.
        secure: Whether it is served by https.
        insecurely: What devices of the network lack without https, one sentence.
    """
    if lan:
        say("Open this link on each phone of this network, or scan the code:")
    else:
        say("Open this link in a browser of this computer (--lan is for phones):")
    say("")
    say(f"  {url}")
    say("")
    if lan:
        _qr_code(url, say)
        if not secure:
            say(insecurely)


def _qr_code(url: str, say: Say) -> None:
    try:
        import segno
    except ImportError:
        say("(With lowzoo[browser] installed a QR code stands here.)")
        return
    if getattr(say, "bars", False):
        segno.make(url, error="m").terminal(out=sys.stderr, compact=True, border=2)
