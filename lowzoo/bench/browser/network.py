"""Which address the page is served on."""

import socket

from lowzoo.errors import LowzooError


def lan_address() -> str:
    """The address of this computer that others in its network reach; no packet is sent to find it.

    Raises:
        LowzooError: There is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: only the route is looked up
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if is_local(address):
        raise LowzooError("this computer is in no network", "Connect it, or leave out --lan")
    return address


def is_local(host: str) -> bool:
    """Whether an address is of this computer alone."""
    return host.startswith("127.")
