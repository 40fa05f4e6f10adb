"""One session with an operator: hello, then a JSON line per verb, both ways, until the channel closes."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from . import ask, journal, lock, verify
from .errors import INTERNAL, LOCKED, SIGNATURE, AgentError, bad_request, from_os_error
from .hostfile import Context, load_context
from .names import linked_digest
from .request import Request, parse
from .verbs import ALONE, FREE, INTAKE, Answer
from .wire import Body, LineTooLong, PeerGone, Wire

PROTOCOL = "tradeops-agent/v1"
IDLE_S = 3600.0
BODY_SILENCE_S = 60.0
_PROOF_CHARS_MAX = 65536


class Session:
    """What one session knows: its nonce, and the run and fence under which it has locked the host itself."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self._context = context
        self._wire = wire
        self._nonce = os.urandom(32).hex()
        self._held: tuple[str, int] | None = None
        self._own = {"lock": self._lock, "renew": self._renew, "unlock": self._unlock, "journal": self._journal}

    def serve(self) -> None:
        """Until the other end is gone. A lock stays until its lease ends: a lost connection is no decision."""
        try:
            self._wire.write(self._hello())
            while (line := self._wire.line()) is not None:
                self._wire.write(self._answer(parse(line)))
        except LineTooLong:
            self._wire.write(_refusal(None, bad_request("the line is too long")))
        except AgentError as error:
            self._wire.write(_refusal(None, error))
        except PeerGone:
            return

    def _hello(self) -> dict[str, Any]:
        host = self._context.host
        platform = linked_digest(self._context.layout.platform) or ""
        return {
            "agent": PROTOCOL,
            "host": host.host,
            "fleet": host.fleet,
            "platform": platform,
            "nonce": self._nonce,
            "fence": self._fence(),
        }

    def _fence(self) -> int:
        """Damaged lock state must not keep a kill from being said: `facts` and `lock` report it."""
        try:
            return lock.load(self._context).fence
        except (AgentError, OSError):
            return 0

    def _answer(self, request: Request) -> dict[str, Any]:
        """The answer to one request; whatever of its body was not read is passed over."""
        body = Body(self._wire, request.size)
        try:
            answer = {"id": request.id, "ok": True, "result": self._do(request, body)}
        except AgentError as error:
            answer = _refusal(request.id, error)
        except OSError as error:
            answer = _refusal(request.id, from_os_error(error))
        except PeerGone:
            raise
        except Exception as error:  # noqa: BLE001 a mistake of ours must be an answer: silence would leave the operator with "unknown"
            traceback.print_exc()
            answer = _refusal(
                request.id, AgentError(INTERNAL, f"the agent failed: {error!r}"[:500], next="report this; the traceback is on stderr")
            )
        body.drain()
        return answer

    def _do(self, request: Request, body: Body) -> Answer:
        if request.problem:
            raise bad_request(request.problem)
        verb = request.verb
        if verb in FREE:
            return FREE[verb](self._context, request.args)
        if verb in self._own:
            return self._own[verb](request)
        if verb in INTAKE:
            self._owner(request)
            return INTAKE[verb](self._context, body)
        if verb in ALONE:
            run, fence = self._owner(request)
            with lock.acting(self._context, run=run, fence=fence):
                return ALONE[verb](self._context, request.args)
        raise bad_request(f"{PROTOCOL} has no verb {verb!r}")

    def _owner(self, request: Request) -> tuple[str, int]:
        """Run and fence of a request, when this session has locked the host under them. Raises AgentError."""
        run = ask.identifier(request.run, "run")
        if request.fence is None:
            raise bad_request("this verb needs the fence that `lock` gave")
        lock.check(self._context, run=run, fence=request.fence)
        if self._held != (run, request.fence):
            raise AgentError(
                LOCKED, "this session has not locked the host itself", next="lock it (for the same run with `takeover`), then ask again"
            )
        return run, request.fence

    def _lock(self, request: Request) -> Answer:
        """Take the lease for a run whose key a person lent it and which signs this session's nonce."""
        context, args = self._context, request.args
        run = ask.identifier(request.run, "run")
        ttl_s = ask.number(args, "ttl_s", low=lock.TTL_S_MIN, high=lock.TTL_S_MAX)
        owner, reason, takeover = ask.text(args, "owner"), ask.text(args, "reason"), ask.flag(args, "takeover")
        key = verify.delegated_key(context, verify.host_policy(context), ask.mapping(args, "delegation"), run)
        if not verify.holds(key, ask.text(args, "proof", chars_max=_PROOF_CHARS_MAX), self._nonce.encode(), verify.SESSION):
            raise AgentError(SIGNATURE, f"the nonce of this session is not signed by the key of run {run}")
        lease = lock.acquire(context, run=run, owner=owner, reason=reason, ttl_s=ttl_s, takeover=takeover)
        self._held = (run, int(lease["fence"]))
        return lease

    def _renew(self, request: Request) -> Answer:
        ttl_s = ask.number(request.args, "ttl_s", low=lock.TTL_S_MIN, high=lock.TTL_S_MAX)
        run, fence = self._owner(request)
        return lock.renew(self._context, run=run, fence=fence, ttl_s=ttl_s)

    def _unlock(self, request: Request) -> Answer:
        run, fence = self._owner(request)
        lock.release(self._context, run=run, fence=fence)
        self._held = None
        return {}

    def _journal(self, request: Request) -> Answer:
        """Read anybody's entries, write one's own."""
        if "append" not in request.args:
            return journal.read(self._context, request.run)
        run, _ = self._owner(request)
        return journal.append(self._context, run, ask.mapping(request.args, "append"))


def main(root: Path) -> int:
    """What the forced command runs: the protocol on stdin and stdout. SSH_ORIGINAL_COMMAND is nobody's business here."""
    os.umask(0o022)
    try:
        context = load_context(root)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"tradeops-agent: {error}\n")
        return 1
    Session(context, Wire(0, 1, idle_s=IDLE_S, body_silence_s=BODY_SILENCE_S)).serve()
    return 0


def _refusal(request: object, error: AgentError) -> dict[str, Any]:
    said = {"code": error.code, "what": error.what, "next": error.next, "detail": error.detail}
    return {"id": request, "ok": False, "error": said}
