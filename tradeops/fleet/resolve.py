"""Names to addresses with a deadline: getaddrinfo has none, and a dead resolver must not keep a command or the process."""

from __future__ import annotations

import ipaddress
import socket
import threading
from queue import Empty, Queue

from tradeops.base.errors import Unreachable


def resolve(address: str, *, timeout_s: float) -> tuple[str, ...]:
    """The numeric addresses of `address`, in the resolver's order; itself when it is one. Raises Unreachable."""
    if is_numeric(address):
        return (address,)
    answers: Queue[tuple[str, ...] | OSError] = Queue()
    threading.Thread(target=_look_up, args=(address, answers), name=f"resolve-{address}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except Empty:
        raise Unreachable(
            f"its name {address} was not resolved within {timeout_s:g} s", next="write the numeric address in the fleet file"
        ) from None
    if isinstance(answer, OSError):
        raise Unreachable(f"its name {address} is not known: {answer.strerror or answer}", next="check the address in the fleet file")
    return answer


def is_numeric(address: str) -> bool:
    """Whether no resolver is needed."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _look_up(address: str, answers: Queue[tuple[str, ...] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        answers.put(error if isinstance(error, OSError) else OSError(str(error)))
        return
    answers.put(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))
