"""The mistakes: what is changed in the source, and which profiles should find it.

They need a server to show, and most of them several nodes, a restart or a fault. `tests/mutations.py` has those that
the engine's own tests find.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A text in a file below src, which occurs once, and what is there instead."""

    file: str
    text: str
    instead: str


@dataclass(frozen=True)
class Mistake:
    """A build with a mistake. `profiles` are tried in turn until a rule finds it."""

    name: str
    what: str
    changes: tuple[Change, ...]
    profiles: tuple[str, ...]


def each(number: int, then: str) -> str:
    """Rust that does something once in so many times."""
    count = "std::sync::atomic::AtomicU32"
    relaxed = "std::sync::atomic::Ordering::Relaxed"
    return (
        f"static TURNS: {count} = {count}::new(0);\n"
        f"        if TURNS.fetch_add(1, {relaxed}) % {number} == {number - 1} {{ {then} }}\n        "
    )


KILLS = ("always",)
RELOADS = ("reloads", *KILLS)
REPLICAS = ("replicas", "promoted")
SENTINEL = ("sentinel-killed", "sentinel-stopped")

MISTAKES = [
    Mistake(
        "effect-dropped",
        "each 1000th change reaches neither replicas nor the AOF, and isn't counted either",
        (
            Change(
                "module/txn/mod.rs",
                "let bytes = self.effect.seal(",
                each(1000, "return;") + "let bytes = self.effect.seal(",
            ),
        ),
        KILLS + REPLICAS,
    ),
    Mistake(
        "lease-unchecked",
        "an ACK finishes a task whoever holds it now",
        (
            Change(
                "engine/rules/lease.rs",
                "        if !is_last_lease(&entry, handle) {\n            return Err(Refusal::Stale);",
                "        if false {\n            return Err(Refusal::Stale);",
            ),
        ),
        ("calm", *KILLS),
    ),
    Mistake(
        "grace-forgotten",
        "leases that ended in an outage end at once when it is over",
        (
            Change(
                "engine/time.rs",
                "self.grace.is_some_and(|g| self.at < g.until && g.from < deadline && deadline <= g.to)",
                "self.grace.is_some_and(|g| self.at > g.until && g.from < deadline)",
            ),
        ),
        KILLS,
    ),
    Mistake(
        "replica-ends-leases",
        "a replica ends leases itself",
        (
            Change(
                "module/runner.rs",
                "let may_change = ctx.may_change_data();",
                "let may_change = ctx.may_change_data() || !ctx.flags().is_primary() && !ctx.flags().is_loading();",
            ),
        ),
        REPLICAS,
    ),
    Mistake(
        "pause-ignored",
        "the timer changes data while CLIENT PAUSE stops writes",
        (
            Change(
                "api/context.rs",
                "!flags.is_child() && !self.avoid_replica_traffic()",
                "!flags.is_child()",
            ),
        ),
        KILLS + REPLICAS,
    ),
    Mistake(
        "ack-unreplicated",
        "acks reach neither replicas nor the AOF",
        (
            Change(
                "module/txn/mod.rs",
                "        self.effect.add(event);\n",
                "        if !matches!(event, Event::Acked { .. }) {\n            self.effect.add(event);\n        }\n",
            ),
        ),
        KILLS + REPLICAS,
    ),
    Mistake(
        "requests-not-loaded",
        "REQUEST tokens are forgotten when a file or a copy is loaded",
        (
            Change(
                "engine/codec/queue.rs",
                "self.requests.remember(Millis(0), request);",
                "let _ = request;",
            ),
        ),
        RELOADS + REPLICAS,
    ),
    Mistake(
        "clock-jumps-at-restart",
        "the clock of spans jumps by two seconds at a restart",
        (
            Change(
                "node/clock.rs",
                "self.set(reading, wall_us, at_us.saturating_add(off_us));",
                "self.set(reading, wall_us, at_us.saturating_add(off_us).saturating_add(2_000_000));",
            ),
        ),
        KILLS,
    ),
    Mistake(
        "clock-jumps-at-promotion",
        "the clock of spans jumps by five seconds at a promotion",
        (
            Change(
                "node/clock.rs",
                "    pub fn on_promoted(&mut self, random: u64) {\n",
                "    pub fn on_promoted(&mut self, random: u64) {\n"
                "        self.at_us = self.at_us.saturating_add(5_000_000);\n",
            ),
        ),
        ("promoted", *SENTINEL),
    ),
    Mistake(
        "delays-begin-anew",
        "delays begin anew when a file or a copy is loaded: ten minutes more",
        (
            Change(
                "engine/apply/load.rs",
                "        if let Phase::Leased { worker, .. } = entry.phase {\n",
                "        let mut entry = entry;\n"
                "        if let Phase::Delayed { due: crate::time::Due::Clock(at), .. } = &mut entry.phase {\n"
                "            *at = at.plus(600_000);\n"
                "            self.log.set_entry(position, &entry, None);\n"
                "        }\n"
                "        if let Phase::Leased { worker, .. } = entry.phase {\n",
            ),
        ),
        RELOADS + REPLICAS,
    ),
    Mistake(
        "numbers-count-on",
        "lease numbers count on from the last one that this node knows, whoever gave others",
        (
            Change(
                "engine/rules/claim.rs",
                "(last.0 + 1).max(now.lease_number(CLOCK_NUMBER_MAX))",
                "(last.0 + 1).max(now.lease_number(1))",
            ),
            Change("engine/rules/term.rs", "saturating_add(PROMOTION_STEP).max(clock)", "max(clock.min(1))"),
            Change(
                "engine/rules/term.rs",
                "last.max(clock).saturating_add(RESTART_STEP + term.id % RESTART_STEP)",
                "last.saturating_add(RESTART_STEP / RESTART_STEP)",
            ),
        ),
        ("promoted", *SENTINEL),
    ),
    Mistake(
        "wakeup-lost",
        "once in three times, workers that wait don't learn of a task that has become ready",
        (
            Change(
                "module/txn/serve.rs",
                "        self.recheck();\n        if !self.queue().is_claimable(self.now.at) {\n            return;\n",
                "        self.recheck();\n        if !self.queue().is_claimable(self.now.at) {\n            return;\n"
                "        }\n        "
                + each(3, "return;").rstrip()
                + "\n        if false {\n            return;\n",
            ),
        ),
        ("waiting",),
    ),
    Mistake(
        "unique-not-loaded",
        "tasks that are loaded don't hold their UNIQUE tokens",
        (
            Change(
                "engine/apply/load.rs",
                "            self.tokens.hold(unique.token, record.id, None);\n",
                "",
            ),
            Change(
                "engine/check.rs",
                'ensure(self.tokens.get(unique.token) == Some(&held), "a token for each task that holds one")?;',
                "let _ = held;",
            ),
            Change("engine/check.rs", "self.tokens.validate(holders)?;", "let _ = holders;"),
        ),
        RELOADS + REPLICAS,
    ),
    Mistake(
        "tied-outlives",
        "a TIED lease outlives its connection",
        (
            Change(
                "module/connections.rs",
                "    for queue in queues {\n",
                "    for queue in queues.into_iter().take(0) {\n",
            ),
        ),
        ("calm",),
    ),
    Mistake(
        "batch-not-loaded",
        "a batch forgets its tasks when a file or a copy is loaded, so that its callback comes early",
        (
            Change("engine/apply/load.rs", "            self.batches.add(number, 1);\n", ""),
            Change("engine/check.rs", "        self.batches.validate(&census.batches)?;\n", ""),
        ),
        RELOADS + REPLICAS,
    ),
    Mistake(
        "results-not-loaded",
        "results are forgotten when a file or a copy is loaded",
        (
            Change(
                "engine/codec/queue.rs",
                "load_side_table(&mut self.results, results, as_stored),",
                "load_side_table(&mut SideTable::default(), results, as_stored),",
            ),
        ),
        RELOADS + REPLICAS,
    ),
    Mistake(
        "moves-free-leases",
        "a queue that moves to another node arrives without its leases",
        (
            Change(
                "module/datatype.rs",
                "                    value.keep_clock();\n",
                "                    value.keep_clock();\n"
                "                    if let Some(copy) = value.copy() {\n"
                "                        value = copy;\n"
                "                    }\n",
            ),
        ),
        ("cluster",),
    ),
]
