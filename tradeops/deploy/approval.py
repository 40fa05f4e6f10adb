"""Approvals (D15): another person signs the digest of one plan, for a while, to be used once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeops.base.clock import NS_PER_S
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy
from tradeops.contracts.signature import Signer

SCHEMA = "tradeops/approval/v1"
_BYTES_MAX = 1 << 20


class Approval(msgspec.Struct, frozen=True):
    """The signed payload (Purpose.APPROVAL). plan: its digest.  times: wall nanoseconds."""

    schema: str
    id: str
    fleet: str
    plan: str
    reason: str
    issued_ns: int
    expires_ns: int


@dataclass(frozen=True)
class Approvals:
    """A file per approval in `folder`; once used it is kept as `ID.used` and counts no more."""

    folder: Path
    policy: Policy

    def give(self, plan: str, signer: Signer, *, id: str, reason: str, now_ns: int, life_s: float) -> Approval:
        """Sign and keep an approval. Raises Refused when the policy does not let this person approve; OSError."""
        approval = Approval(SCHEMA, id, self.policy.fleet, plan, reason, now_ns, now_ns + int(life_s * NS_PER_S))
        body = encode(approval)
        envelope = Envelope.of(body, signer.sign(body, Purpose.APPROVAL))
        self._entitled(envelope)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(self.folder / f"{id}.json", msgspec.json.encode(envelope))
        return approval

    def use(self, plan: str, needed: int, *, executor: str, authors: tuple[str, ...], now_ns: int) -> None:
        """Spend approvals of `plan` by `needed` people who have no other part in it. Raises Refused saying what each is worth.

        authors: who signed the release.
        """
        self._refuse_author(plan, executor, authors)
        barred = {executor: "nobody approves their own deploy"}
        if self.policy.parts("author", "approver"):
            barred = dict.fromkeys(authors, "nobody approves their own release") | barred
        people: dict[str, Path] = {}
        worthless = []
        for path in sorted(self.folder.glob("*.json")):
            who, why = self._judge(path, plan, barred, now_ns)
            if why:
                worthless.append(f"{path.stem} by {', '.join(who) or 'nobody known'}: {why}")
            else:
                people |= dict.fromkeys(who, path)
        if len(people) < needed:
            raise Refused(
                f"{len(people)} of {needed} approvals of this plan\n" + "\n".join(worthless),
                where=plan,
                holds="nothing was touched",
                next=f"another person: `tradeops approve {plan}`",
            )
        for path in set(people.values()):
            path.rename(path.with_suffix(".used"))

    def refuse_resumer(self, plan: str, *, executor: str, authors: tuple[str, ...]) -> None:
        """Who carries an approved run on is its executor as well. Raises Refused for somebody who has another part in it."""
        self._refuse_author(plan, executor, authors)
        for path in sorted(self.folder.glob("*.used")):
            envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
            approval = decode(envelope.body(), Approval, source=str(path))
            if approval.plan == plan and executor in self._entitled(envelope):
                raise Refused(
                    f"{executor} approved the plan of this run: nobody approves their own deploy",
                    where=plan,
                    holds="nothing was touched",
                    next="another person: `tradeops runs resume`; anybody who may deploy: `tradeops runs abort`",
                )

    def _refuse_author(self, plan: str, executor: str, authors: tuple[str, ...]) -> None:
        if executor in authors and self.policy.parts("author", "executor"):
            raise Refused(
                f"{executor} signed the release, and the policy has author and executor differ where an approval is needed",
                where=plan,
                holds="nothing was touched",
                next="another person deploys it",
            )

    def _judge(self, path: Path, plan: str, barred: Mapping[str, str], now_ns: int) -> tuple[tuple[str, ...], str]:
        """Who gave it, and why it does not count; "" when it does."""
        envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
        try:
            people = self._entitled(envelope)
        except Refused as refused:
            return (), refused.what
        approval = decode(envelope.body(), Approval, source=str(path))
        return people, next(self._against(approval, path, plan, people, barred, now_ns), "")

    def _entitled(self, envelope: Envelope) -> tuple[str, ...]:
        """Who gave it. Each approval is one person's: how many are needed is for the plan to say."""
        one = msgspec.structs.replace(self.policy, thresholds={})
        return entitled(one, "approve", envelope, Purpose.APPROVAL, now_ns=None, host=None).people

    def _against(
        self, approval: Approval, path: Path, plan: str, people: tuple[str, ...], barred: Mapping[str, str], now_ns: int
    ) -> Iterator[str]:
        if path.stem != approval.id or path.with_suffix(".used").exists():
            yield "it was used before"
        if approval.fleet != self.policy.fleet or approval.plan != plan:
            yield "it is for another plan"
        if now_ns >= approval.expires_ns:
            yield "it has expired"
        for person in people:
            if person in barred:
                yield barred[person]
