"""Names and addresses of machines. Pure."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a name or address is a loopback one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
