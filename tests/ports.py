"""Ports for what a test starts as a process of its own."""

import socket


def free_port() -> int:
    """One that nobody on loopback listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
