#!/usr/bin/env python3
"""Breaks the engine on purpose, one line at a time, to check that a test fails.

Each break is a piece of text and its replacement. It is made in a copy of the tree (`.run/mutations`), and the engine's
tests must then fail. The exit status is 1 if a break survives, or if its text does not occur once.

    python3 tests/mutations.py            all breaks
    python3 tests/mutations.py lane rank  the breaks whose name contains one of these words
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / ".run" / "mutations"

# name, file in src/engine, text, replacement
BREAKS = [
    (
        "order of claims in a lane",
        "store/lane.rs",
        "first.into_iter().chain(back).chain(suspect).min()?",
        "first.into_iter().chain(back).chain(suspect).max()?",
    ),
    (
        "order of priorities",
        "store/lanes.rs",
        "priority.cmp(&level.priority)",
        "level.priority.cmp(&priority)",
    ),
    ("lease nonce check", "rules/lease.rs", " && entry.nonce == handle.nonce", ""),
    ("lease number check", "rules/lease.rs", "entry.lease == handle.lease && entry", "entry"),
    ("lease number increases", "rules/claim.rs", "(last.0 + 1).max(now", "last.0.max(now"),
    (
        "deadline comparison",
        "time.rs",
        "deadline <= self.at && !self.spares",
        "deadline < self.at && !self.spares",
    ),
    (
        "late ACK accepted",
        "rules/lease.rs",
        "_ if entry.stalled => true,",
        "_ if entry.stalled => return Err(Refusal::Stale),",
    ),
    ("late ACK counted", "apply/lease.rs", "self.totals.late += u64::from(late);", ""),
    ("ACK of a requeued task", "rules/lease.rs", "_ if entry.stalled => true,", "_ => true,"),
    ("a claim clears the stalled mark", "apply/lease.rs", "        entry.stalled = false;\n", ""),
    ("stall limit", "rules/lease.rs", "u64::from(stalls) >= limit", "u64::from(stalls) > limit"),
    (
        "second stall waits",
        "rules/lease.rs",
        "            1 => Then::Ready(now.at),",
        "            1 | 2 => Then::Ready(now.at),",
    ),
    (
        "failure limit",
        "rules/lease.rs",
        "u64::from(failures) >= limit.min",
        "u64::from(failures) > limit.min",
    ),
    (
        "a task's own attempts",
        "rules/lease.rs",
        "Some(attempts) => u64::try_from(attempts).ok(),",
        "Some(_) => self.settings.limit(Setting::Attempts),",
    ),
    ("total of acks", "apply/lease.rs", "        self.totals.acked += 1;\n", ""),
    ("total of requeues", "apply/lease.rs", "self.totals.requeued += 1;", ""),
    ("rank kept at requeue", "apply/lease.rs", "if back {\n            task", "if true {\n            task"),
    (
        "rank drawn when due",
        "apply/transition.rs",
        "            task.entry.rank = self.draw()?.rank();\n",
        "",
    ),
    ("poison delivered alone", "rules/claim.rs", "(is_suspect || is_too_much)", "is_too_much"),
    (
        "poison is delivered without other tasks",
        "rules/claim.rs",
        "if is_suspect { 0 } else { self.left - 1 }",
        "self.left - 1",
    ),
    ("poison limit", "store/entry.rs", "const SUSPECT_STALLS: u16 = 2;", "const SUSPECT_STALLS: u16 = 3;"),
    ("the holder of a suspect gets nothing", "rules/suspects.rs", "holds.suspects > 0 || ", ""),
    (
        "a busy worker gets no suspect",
        "rules/suspects.rs",
        "Some(_) => Allowed::Sound,",
        "Some(_) => Allowed::All,",
    ),
    ("an awaited worker gets nothing", "rules/suspects.rs", " || self.awaited == Some(number)", ""),
    (
        "one worker is awaited at a time",
        "rules/suspects.rs",
        "self.awaited.is_none() && is_overdue",
        "is_overdue",
    ),
    ("passed over for a lease", "rules/suspects.rs", ".plus(lease_ms) <= now.at", ".plus(lease_ms) < now.at"),
    (
        "the awaited worker holds a task",
        "apply/transition.rs",
        "&& self.awaited == Some(worker) {",
        "&& false {",
    ),
    (
        "a claimed suspect ends the wait for a worker",
        "apply/lease.rs",
        "            self.awaited = None;\n",
        "",
    ),
    ("full jitter after a stall", "rules/lease.rs", "backoff::full_jitter_ms", "backoff::delay_ms"),
    (
        "groups with suspects have their own rotation",
        "store/level.rs",
        "        } else if is_sound != was_sound {\n            self.change_rotation(group);\n        }\n",
        "        }\n",
    ),
    (
        "retry of a dead task resets its counters",
        "apply/ready.rs",
        "            task.entry.failures = 0;\n",
        "",
    ),
    (
        "promotion step",
        "rules/term.rs",
        "const PROMOTION_STEP: u64 = 1 << 36;",
        "const PROMOTION_STEP: u64 = 1 << 35;",
    ),
    (
        "a floor above the clock",
        "rules/term.rs",
        "_ => level,",
        "_ => last,",
    ),
    (
        "two promoted replicas",
        "rules/term.rs",
        "PROMOTION_STEP + self.id % (1 << 32)",
        "PROMOTION_STEP",
    ),
    (
        "numbers of a queue that was moved",
        "rules/term.rs",
        "self.ahead_us = self.ahead_of(here, self.last_lease.max(LeaseNumber(level)));",
        "self.ahead_us = 0;",
    ),
    (
        "a term begins again in a queue that came back",
        "rules/term.rs",
        "self.term == term.id && !self.has_arrived",
        "self.term == term.id",
    ),
    ("the lead over the clock", "time.rs", ".saturating_add(self.lead_us)", ""),
    ("effects in turn", "store/effect_count.rs", "number == self.next()", "number >= self.next()"),
    ("effects are counted", "store/effect_count.rs", "(last + 1).min(Self::MAX)", "last"),
    (
        "page bound noted at a claim",
        "store/log.rs",
        "page.bound.is_none_or(|bound| deadline < bound)",
        "page.bound.is_none()",
    ),
    (
        "page bound after a tick",
        "store/page.rs",
        "self.bound = self.deadlines().map(|(_, deadline)| deadline).min();",
        "self.bound = self.deadlines().map(|(_, deadline)| deadline).max();",
    ),
    ("purge counter", "apply/removal.rs", "self.totals.purged += 1;", ""),
    (
        "extend never shortens",
        "rules/lease.rs",
        "asked.min(self.last_deadline(claimed_at)).max(deadline)",
        "asked.min(self.last_deadline(claimed_at))",
    ),
    (
        "run-max",
        "rules/lease.rs",
        "asked.min(self.last_deadline(claimed_at)).max(deadline)",
        "asked.max(deadline)",
    ),
    (
        "FAIL ends a cancelled task",
        "rules/lease.rs",
        "        if is_cancel_asked(&entry) {\n            return Ok(Event::Cancelled",
        "        if false {\n            return Ok(Event::Cancelled",
    ),
    (
        "an undone claim ends a cancelled task",
        "rules/lease.rs",
        "Some(match is_cancel_asked(&entry) {",
        "Some(match false {",
    ),
    (
        "grace spares leases",
        "time.rs",
        "self.at < g.until && g.from < deadline",
        "self.at > g.until && g.from < deadline",
    ),
    ("wall clock corrections", "time.rs", "Due::Wall(at) => now.wall_on_clock(at),", "Due::Wall(at) => at,"),
    ("tick counts its pages", "rules/due.rs", "*pages -= usize::from(other.is_some());", ""),
    ("dead-ttl", "rules/retention.rs", "died_at.plus(ttl_ms) <= now.at", "died_at.plus(ttl_ms) < now.at"),
    (
        "dead-max drops the oldest",
        "rules/retention.rs",
        "self.dead.iter().take(count)",
        "self.dead.iter().rev().take(count)",
    ),
    (
        "max-len counts the push",
        "rules/push.rs",
        "len.saturating_add(count) > max",
        "len > max",
    ),
    ("jitter", "rules/backoff.rs", "u128::from(delay) - reach)", "u128::from(delay))"),
    ("backoff counts from the first", "rules/backoff.rs", "n.saturating_sub(1).min(63)", "n.min(63)"),
    ("requests are forgotten in order", "store/requests.rs", "self.oldest.remove(&before);", ""),
    ("requests are bounded in bytes", "store/requests.rs", " || self.bytes as u64 > REQUESTS_MAX_BYTES", ""),
    ("bytes of a list", "view/list.rs", "bytes > limit.bytes && !shown", "bytes > u64::MAX - 1 && !shown"),
    (
        "a list continues at the task that did not fit",
        "view/list.rs",
        "return (before, shown)",
        "return (at, shown)",
    ),
    ("a result makes the data grow", "rules/growth.rs", "result.map_or(0, len) - self", "-self"),
    ("one group for each name", "store/groups.rs", "!self.numbers.contains_key(&name)", "true"),
    (
        "requests are kept for five minutes",
        "store/requests.rs",
        "REQUEST_KEPT_MS: u64 = 300_000",
        "REQUEST_KEPT_MS: u64 = 299_999",
    ),
    (
        "ties end with their lease",
        "apply/transition.rs",
        "                if tied {\n                    self.local.ties.untie(id);",
        "                if false {\n                    self.local.ties.untie(id);",
    ),
    ("worker's name is in the digest", "codec/digest.rs", "state.extend_from_slice(worker);", ""),
    ("errors are stored", "codec/queue.rs", "            (ERRORS, &self.errors),\n", ""),
    ("last attempts are stored", "codec/queue.rs", "            (ATTEMPTS, &self.attempts),\n", ""),
    ("duplicate ranks are refused", "check.rs", "are_unique(ranks) && ", ""),
    (
        "loaded lease numbers",
        "check.rs",
        "entry.rank < state.next_order.rank() && entry.lease <= state.last_lease",
        "entry.rank < state.next_order.rank()",
    ),
    (
        "a worker without a name",
        "store/interner.rs",
        "(!self.name(number).is_empty() && self.count(number, is_suspect, 1).is_some())",
        "self.count(number, is_suspect, 1).is_some()",
    ),
    (
        "bytes after an effect",
        "pack.rs",
        "(whole.position() == bytes.len() as u64).then_some(value)",
        "Some(value)",
    ),
    ("an effect goes on behind its end", "codec/effect.rs", 'ensure(from.rest.is_empty(), "its end")?;', ""),
    (
        "compaction keeps records",
        "store/page.rs",
        "            *offset = bytes.len() as u16;\n",
        "",
    ),
    ("runs of a lane", "store/lanes.rs", "let extend = self.last == Some(key);", "let extend = true;"),
    ("a cursor continues after its task", "view/list.rs", "Rank(cursor.1).next()", "Rank(cursor.1)"),
    ("figures: a claim ends a wait", "apply/lease.rs", "self.local.stats.claimed(since, at);", ""),
    (
        "figures: an ACK is counted",
        "apply/lease.rs",
        "self.local.stats.acked(claimed_at(&task.entry.phase));",
        "",
    ),
    ("times: a wait counts", "store/stats.rs", "        self.times.wait.count(ms);", ""),
    ("times: a run counts", "store/stats.rs", "            window.times.run.count(ms);", ""),
    (
        "times: a bound is exclusive",
        "store/durations.rs",
        "u64::BITS - ms.leading_zeros()",
        "u64::BITS - ms.saturating_sub(1).leading_zeros()",
    ),
    ("figures: old minutes count less", "store/stats.rs", "if minutes > 0 {", "if minutes > 99 {"),
    ("figures: a bucket is emptied", "store/stats.rs", "                    *count = 0;", ""),
    (
        "figures: a copy has none",
        "apply/copy.rs",
        "State { local: Local::default(), effects",
        "State { effects",
    ),
    ("figures: rounding of a need", "view/load.rs", " - ROUNDING", ""),
    ("bytes of errors, progress and results", "store/side_table.rs", "self.bytes += value.len() as u64;", ""),
    ("the end of a retention", "store/done.rs", "*until <= now)", "*until < now)"),
    (
        "only as many done tasks as needed are dropped",
        "rules/retention.rs",
        "freed >= bytes",
        "freed > bytes",
    ),
    (
        "done tasks make room for a push",
        "rules/push.rs",
        ".saturating_sub(self.done_bytes() + left.bytes);",
        ";",
    ),
    (
        "the retention of the ack takes precedence",
        "rules/lease.rs",
        "retain_ms.or_else(|| self.retains_ms(&found.record))",
        "self.retains_ms(&found.record).or(retain_ms)",
    ),
    (
        "a done task has no progress",
        "apply/lease.rs",
        "self.progress.forget(task.order);\n        if let Some(result)",
        "if let Some(result)",
    ),
    ("an older claim clears progress", "codec/effect.rs", "if version < KEEPS_PROGRESS {", "if false {"),
    (
        "as many errors as the setting says",
        "store/task_errors.rs",
        "self.newest(kept.saturating_sub(1))",
        "self.newest(kept)",
    ),
    (
        "a retry forgets the last attempt",
        "apply/ready.rs",
        "            self.attempts.forget(task.order);\n",
        "",
    ),
    (
        "a failure keeps its progress",
        "apply/lease.rs",
        "self.note_progress(task.order, progress);\n        task",
        "task",
    ),
    (
        "a done task cannot be acked again",
        "rules/lease.rs",
        "Phase::Done { .. } => return Err(Refusal::Gone),\n            _ if",
        "Phase::Done { .. } => false,\n            _ if",
    ),
    ("long retentions", "store/entry.rs", "(retain_ms >> 32) as u32", "0"),
    ("token is free at the start", "apply/lease.rs", "        self.let_go_at_start(task.position);\n", ""),
    (
        "token is free at the end",
        "apply/transition.rs",
        "self.let_go(task.position);\n        self.edits",
        "self.edits",
    ),
    (
        "an undone hand-off resets its lease",
        "apply/tokens.rs",
        "(entry.lease, entry.nonce, entry.lease_ms) = Default::default();",
        "",
    ),
    ("token that is kept", "apply/tokens.rs", "|hold| !matches!(hold, Hold::Exactly(_))", "|_| true"),
    (
        "the end of a token",
        "store/tokens.rs",
        "until.is_some_and(|until| until <= at)",
        "until.is_some_and(|until| until < at)",
    ),
    ("one token of two retried tasks", "rules/unique.rs", "is_free && taken.insert(unique.token)", "is_free"),
    (
        "edit goes with its task (token)",
        "apply/transition.rs",
        "        self.edits.remove(task.order);\n",
        "",
    ),
    (
        "edit: the priority and the group of a changed task",
        "store/record.rs",
        "edit.lane.unwrap_or((options.priority, group))",
        "(options.priority, group)",
    ),
    (
        "edit: a changed task is not plain",
        "store/record.rs",
        "self.encoded.is_empty() && self.edit.is_none()",
        "self.encoded.is_empty()",
    ),
    (
        "edit: a task goes to the back of its new lane",
        "apply/edit.rs",
        "                task.entry.rank = self.draw()?.rank();\n",
        "",
    ),
    (
        "edit: the group that is left is counted",
        "apply/edit.rs",
        "            self.count_task_in_group(before.group, -1);\n",
        "",
    ),
    (
        "edit: a suspect stays reserved",
        "apply/edit.rs",
        "            (self.passed_over, self.awaited) = reserved;\n",
        "",
    ),
    (
        "edit: only what waits is changed",
        "apply/edit.rs",
        "let found = self.find(id).filter(|found| is_waiting(&found.entry().phase));",
        "let found = self.find(id);",
    ),
    ("edit: each task once", "rules/set.rs", "seen.insert(id) && ", "(seen.insert(id) || true) && "),
    ("edit: bytes that are released", "rules/set.rs", "if growth > 0 && ", "if "),
    (
        "edit: a token of a task that has ended",
        "rules/set.rs",
        "Phase::Dead { .. } | Phase::Done { .. } => None",
        "Phase::Dead { .. } | Phase::Done { .. } => Some(id)",
    ),
    ("edit: postponed at most until", "time.rs", "match last < self.on_clock(now) {", "match false {"),
    (
        "ttl: expired tasks are removed before a claim",
        "rules/claim.rs",
        "if state.is_behind(now.at) {",
        "if false {",
    ),
    ("ttl ends with a claim", "store/expiry.rs", "deliveries: 0, .. }) => *since", ".. }) => *since"),
    ("ttl counts from when it was due", "apply/expiry.rs", "=> due.min(at),", "=> due.max(at),"),
    (
        "groups: a claim uses a turn",
        "apply/groups.rs",
        "        self.lanes.charge(key, weight);\n",
        "",
    ),
    (
        "groups: a claim counts in the queue's rate",
        "apply/groups.rs",
        "            self.spent.spend(at, rate);\n",
        "",
    ),
    (
        "groups: a claim counts in the group's rate",
        "apply/groups.rs",
        "            group.used.spent.spend(at, rate);\n",
        "",
    ),
    ("groups: the queue's concurrency", "rules/groups.rs", "limit.saturating_sub(self.leased)", "limit"),
    (
        "groups: an ordered group waits for its task",
        "store/groups.rs",
        " || (self.is_ordered() && self.returning > 0)",
        "",
    ),
    (
        "groups: a group that is behind starts a new rate",
        "store/groups.rs",
        "self.has_new_rate(group) && group",
        "false && group",
    ),
    (
        "groups: a claim updates a group that is behind",
        "apply/groups.rs",
        "        self.catch_up(key.group);\n",
        "",
    ),
    (
        "groups: a claim looks at few that are behind",
        "rules/claim.rs",
        "turns_or_all(which).take(most)",
        "turns_or_all(which)",
    ),
    (
        "groups: order keeps its position",
        "apply/transition.rs",
        "!is_back || !self.keeps_position(task.key.group)",
        "true",
    ),
    ("groups: a new weight counts earlier claims", "store/level.rs", "before.saturating_sub(turn.left)", "0"),
    ("groups: parts of a rate", "rate.rs", "part: (whole % claims) as u32", "part: 0"),
    # Batches, and tasks that wait for tasks.
    (
        "a batch waits to be closed",
        "store/batches.rs",
        "&& self.closed_at.is_some() && self.open == 0",
        "&& self.open == 0",
    ),
    (
        "a batch waits for its tasks",
        "store/batches.rs",
        "&& self.closed_at.is_some() && self.open == 0",
        "&& self.closed_at.is_some()",
    ),
    (
        "a complete batch accepts nothing",
        "store/batches.rs",
        "!self.is_over && !self.is_complete()",
        "!self.is_over",
    ),
    (
        "a closed batch accepts its tasks' pushes",
        "store/batches.rs",
        "!self.is_over && !self.is_complete()",
        "!self.is_over && self.closed_at.is_none()",
    ),
    ("an end counts in the batch", "apply/batches.rs", "            self.batches.end(batch, how);\n", ""),
    ("an end is told", "apply/batches.rs", "        self.dependents.end(id, how == Ended::Done);\n", ""),
    (
        "only an ack is done",
        "apply/batches.rs",
        "self.dependents.end(id, how == Ended::Done)",
        "self.dependents.end(id, true)",
    ),
    (
        "a retried task is open in its batch",
        "apply/batches.rs",
        "            self.batches.revive(batch);\n",
        "",
    ),
    ("nobody is told of a retried task", "apply/batches.rs", "        self.dependents.revive(id);\n", ""),
    (
        "a batch is removed with its callback",
        "apply/batches.rs",
        "            self.batches.forget(order);\n",
        "",
    ),
    ("a removed task waits no more", "apply/batches.rs", "            self.dependents.remove(order);\n", ""),
    (
        "a batch that is over takes no tasks",
        "apply/batches.rs",
        "is_some_and(|batch| !batch.is_over)",
        "is_some()",
    ),
    ("a death ends a task", "apply/transition.rs", "            self.ends(&task, Ended::Dead);\n", ""),
    ("a retry takes the death back", "apply/transition.rs", "                self.revives(position);\n", ""),
    (
        "a purged dead task stays dead",
        "apply/removal.rs",
        "if is_dead { Ended::Dead } else { Ended::Purged }",
        "if is_dead { Ended::Purged } else { Ended::Purged }",
    ),
    (
        "an expired task has expired",
        "apply/removal.rs",
        "self.ends(&task, Ended::Expired)",
        "self.ends(&task, Ended::Purged)",
    ),
    (
        "a stall that cancels ends a task",
        "apply/lease.rs",
        "                    self.ends(&task, Ended::Cancelled);\n",
        "",
    ),
    ("an ack ends a task", "apply/lease.rs", "        self.ends(&task, Ended::Done);\n", ""),
    (
        "a copy that cancels ends a task",
        "apply/copy.rs",
        "                copy.ends(&task, Ended::Cancelled);\n",
        "",
    ),
    (
        "a dead task is not open when it is loaded",
        "apply/load.rs",
        "if !number.is_none() && !has_ended",
        "if !number.is_none()",
    ),
    (
        "a dead parent is told of at once",
        "apply/dependents.rs",
        "                self.dependents.end(parent.id, false);\n",
        "",
    ),
    (
        "a retried callback waits no more",
        "apply/dependents.rs",
        "        self.batches.end_wait(task.order);\n",
        "",
    ),
    (
        "a retried dependent waits no more",
        "apply/dependents.rs",
        "        self.dependents.release(task.order);\n",
        "",
    ),
    (
        "only complete batches are told",
        "apply/dependents.rs",
        "ensure(batch.is_complete(), ",
        "ensure(true, ",
    ),
    (
        "only those to drop are cancelled",
        "apply/dependents.rs",
        "Release::Cancelled => open.is_none()",
        "Release::Cancelled => true",
    ),
    (
        "a task that waits stays held",
        "apply/dependents.rs",
        "Release::Ready | Release::Delayed(_) => open == Some(0)",
        "Release::Ready | Release::Delayed(_) => true",
    ),
    (
        "what is pushed knows its parents",
        "apply/dependents.rs",
        "parent.id <= self.last_id && parent.is_open == is_open",
        "parent.id <= self.last_id",
    ),
    (
        "WAIT is not told of a death",
        "store/dependents.rs",
        "if is_done { OnDead::Wait } else { OnDead::Run }",
        "if is_done { OnDead::Wait } else { OnDead::Wait }",
    ),
    ("a task waits for its other parents", "rules/dependents.rs", "_ if open > 1 =>", "_ if open > 2 =>"),
    (
        "DROP",
        "rules/dependents.rs",
        "OnDead::Drop if !is_done => Some",
        "OnDead::Drop if !is_done && open > 1 => Some",
    ),
    (
        "dependents are told in steps",
        "rules/dependents.rs",
        "told.take(STEP_TASKS).take_while",
        "told.take_while",
    ),
    (
        "few with many parents are dropped at once",
        "rules/dependents.rs",
        "before == 0 || dropped <= STEP_PARENTS",
        "true || before == 0 || dropped <= STEP_PARENTS",
    ),
    ("callbacks are told in steps", "rules/batches.rs", ".take(STEP_TASKS)", ""),
    (
        "ids that were never given",
        "rules/dependents.rs",
        "|last| *last > self.last_id",
        "|last| *last > TaskId { ms: u64::MAX, ..*last }",
    ),
    (
        "no circle of waits",
        "rules/dependents.rs",
        "is_held && found.record.batch != batch",
        "is_held && found.record.batch.is_none()",
    ),
    (
        "news are due now",
        "rules/due.rs",
        "self.has_news().then_some(now.at)",
        "self.has_news().then_some(NEVER)",
    ),
    (
        "held tasks count towards max-len",
        "state.rs",
        "TaskState::Delayed, TaskState::Held, TaskState::Leased]",
        "TaskState::Delayed, TaskState::Leased]",
    ),
    (
        "what must be told is stored",
        "codec/queue.rs",
        "        put_batches(ENDED, self.dependents.ended(), |_| 32, put);\n",
        "",
    ),
    (
        "an instant of the wall clock that is over",
        "time.rs",
        "When::At(at) if at > now.wall",
        "When::At(at) if at > now.at",
    ),
    (
        "a delay of a held task is stored",
        "store/entry.rs",
        "When::After(ms) => (0, ms)",
        "When::After(ms) => (0, ms & 0xffff)",
    ),
    (
        "what must be told is in the digest",
        "codec/digest.rs",
        "        self.dependents.ended().for_each(|ended| add(named_in(&mut named, &ended)));\n",
        "",
    ),
    (
        "the batch of a task is in the digest",
        "codec/digest.rs",
        "add(&found.record.batch.0.to_le_bytes())",
        "add(&[])",
    ),
    # What a task leaves to its next step, fuller batches, purges, and pauses of groups.
    ("step: the room of the finished task", "rules/step.rs", "u64::from(!is_dead(&found))", "0"),
    ("step: a dead task leaves no room", "rules/step.rs", "u64::from(!is_dead(&found))", "1"),
    (
        "step: the group of the finished task",
        "rules/step.rs",
        "u64::from(!is_retained && ",
        "u64::from(false && ",
    ),
    ("step: the group of a retained task stays", "rules/step.rs", "!is_retained && ", ""),
    (
        "step: the token of the finished task",
        "rules/step.rs",
        "!matches!(unique.hold, Hold::Exactly(_))",
        "false",
    ),
    ("step: a token that is kept stays", "rules/step.rs", "!matches!(unique.hold, Hold::Exactly(_))", "true"),
    (
        "step: the bytes of progress",
        "rules/step.rs",
        "found.order) + progress) as u64",
        "found.order)) as u64",
    ),
    ("step: it does not wait for its own task", "rules/step.rs", "done: Some(*id),", "done: None,"),
    (
        "step: its own task is not replaced",
        "rules/step.rs",
        "if *finished == id)",
        "if false && *finished == id)",
    ),
    (
        "gather: full by COUNT",
        "rules/gather.rs",
        "let is_full = counted.tasks >= claim.count || ",
        "let is_full = ",
    ),
    ("gather: full by BYTES", "rules/gather.rs", "|max| counted.bytes > max", "|_| false"),
    ("gather: a suspect is alone", "rules/gather.rs", " || entry.is_suspect();", ";"),
    ("gather: since the oldest", "rules/gather.rs", "batch.since.min(since)", "batch.since.max(since)"),
    (
        "gather: nothing through a closed gate",
        "rules/gather.rs",
        " || !self.paused(now, Gate::Out).is_open()",
        "",
    ),
    (
        "gather: within the queue's limits",
        "rules/gather.rs",
        "let mut left = self.allowance(now);",
        "let mut left = u64::MAX;",
    ),
    ("gather: a group over all priorities", "rules/gather.rs", ".saturating_sub(given)", ""),
    ("gather: may fill by suspects", "rules/gather.rs", "has_bytes || self.has_suspects()", "has_bytes"),
    ("gather: may fill by edits", "rules/gather.rs", "records.saturating_add(self.edits.bytes())", "records"),
    (
        "purge: each id once",
        "rules/purge.rs",
        ".filter(|_| seen.insert(id))",
        ".filter(|_| seen.insert(id) || true)",
    ),
    (
        "purge: exactly as old",
        "rules/purge.rs",
        "since.plus(older_ms) <= now.at",
        "since.plus(older_ms) < now.at",
    ),
    (
        "purge: old since its state",
        "rules/purge.rs",
        "state() == state && since(found).is_some_and(is_old)",
        "state() == state",
    ),
    (
        "purge: a bounded search",
        "rules/purge.rs",
        "looked_at + 1 >= LOOKED_AT",
        "looked_at + 1 >= usize::MAX",
    ),
    (
        "purge: a search begins again",
        "rules/purge.rs",
        ".chain(before).enumerate()",
        ".chain(before.take(0)).enumerate()",
    ),
    (
        "purge: held tasks that wait for many",
        "rules/dependents.rs",
        "let is_within = waits < WAITS_MAX;",
        "let is_within = true;",
    ),
    (
        "pause: a paused group gives nothing",
        "store/groups.rs",
        "if self.is_paused || used.rests",
        "if used.rests",
    ),
    (
        "pause: it ends by itself",
        "apply/groups.rs",
        "is_some_and(|until| until <= at)",
        "is_some_and(|_| false)",
    ),
    ("pause: it does not end early", "apply/groups.rs", "is_some_and(|until| until <= at)", "is_some()"),
    (
        "pause: a paused group stays known",
        "store/groups.rs",
        "self.limits.is_none() && !self.is_paused\n",
        "self.limits.is_none()\n",
    ),
    ("groups-max", "rules/groups.rs", "known < max || ", "known <= max || "),
    (
        "tokens-max",
        "store/tokens.rs",
        ".take(surplus + 1).count() <= surplus",
        ".take(surplus + 1).count() < surplus",
    ),
]


def copy_tree() -> None:
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ["Cargo.toml", "Cargo.lock", "rustfmt.toml"]:
        shutil.copy2(ROOT / name, COPY / name)
    for folder in ["src/edges", "src/engine", "tests/engine"]:
        shutil.rmtree(COPY / folder, ignore_errors=True)
        # With new modification times, so that cargo rebuilds files that were broken in an earlier run.
        shutil.copytree(ROOT / folder, COPY / folder, copy_function=shutil.copy)
    # Build the engine alone, with what it depends on.
    manifest = COPY / "Cargo.toml"
    manifest.write_text(
        re.sub(r"members = .*", 'members = ["src/edges", "src/engine"]', manifest.read_text())
    )


def run_tests() -> tuple[bool, str]:
    """Returns whether all tests pass. The text names the first test that failed, or reports a compile error."""
    # Short histories find these breaks. Optimisation is low, because each break compiles the engine again.
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(ROOT / "target" / "mutations"),
        "CARGO_PROFILE_TEST_OPT_LEVEL": "1",
        "CARGO_PROFILE_TEST_DEBUG": "0",
        "CARGO_INCREMENTAL": "1",
        "PROPTEST_CASES": "16",
        "PROPTEST_MAX_SHRINK_ITERS": "0",
        "RUST_BACKTRACE": "0",
    }
    command = ["cargo", "test", "--offline", "--package", "taskslot-engine", "--tests"]
    try:
        run = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return False, "(timed out)"
    if run.returncode == 0:
        return True, ""
    if "could not compile" in run.stderr:
        print(run.stderr[-2000:])
        return True, "it does not compile"
    failed = re.findall(r"^test (\S+) \.\.\. FAILED", run.stdout, re.MULTILINE)
    return False, f"{failed[0]}" + (
        f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    ) if failed else "(abort)"


def main() -> int:
    words = sys.argv[1:]
    chosen = [one for one in BREAKS if not words or any(word in one[0] for word in words)]
    if not chosen:
        print(f"no break has a name that contains one of {words}")
        return 1
    copy_tree()
    passes, why = run_tests()
    if not passes:
        print(f"the tests fail without any break: {why}")
        return 1
    survived = 0
    for name, file, text, instead in chosen:
        path = COPY / "src" / "engine" / file
        whole = path.read_text()
        began = time.monotonic()
        if whole.count(text) != 1:
            verdict, bad = f"NOT FOUND once in {file}: {text!r}", True
        else:
            path.write_text(whole.replace(text, instead))
            bad, caught = run_tests()
            verdict = f"SURVIVED {caught}" if bad else caught
            path.write_text(whole)
        survived += bad
        print(f"{name:48} {time.monotonic() - began:5.0f} s  {verdict}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} breaks were caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
