//! Effects as bytes: every event reads back as it was written, and damaged bytes are read without harm.

use std::num::NonZeroU64;

use taskslot_engine::{
    Answer, Due, Effect, End, Event, Handle, Hold, Lease, LeaseNumber, Millis, OnDead, Options, Parent,
    Release, TaskId, Then, Unique, When,
};

use crate::copies::{Dice, NAME, without_checksum};
use crate::sample::{START, live};

/// Values of events: near each other as in a real life, or anything.
struct Maker<'d>(&'d mut Dice);

const TEXT: &[u8] = &[7; 300];

impl Maker<'_> {
    fn number(&mut self) -> u64 {
        match self.0.below(6) {
            0 => 0,
            1 => self.0.below(300),
            2 => START + self.0.below(100_000),
            3 => u64::MAX - self.0.below(3),
            4 => 1 << self.0.below(64),
            _ => self.0.roll(),
        }
    }

    fn flag(&mut self) -> bool {
        self.0.below(2) == 0
    }

    fn word(&mut self) -> u32 {
        self.number() as u32
    }

    fn at(&mut self) -> Millis {
        Millis(self.number())
    }

    fn id(&mut self) -> TaskId {
        TaskId { ms: self.number(), seq: self.number() }
    }

    fn text(&mut self) -> &'static [u8] {
        &TEXT[..self.0.below(301) as usize * self.0.below(2) as usize]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn some<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.0.below(4)).map(|_| make(self)).collect()
    }

    fn due(&mut self) -> Due {
        if self.flag() { Due::Clock(self.at()) } else { Due::Wall(self.at()) }
    }

    fn then(&mut self) -> Then {
        match self.0.below(3) {
            0 => Then::Ready(self.at()),
            1 => Then::Delayed(self.due()),
            _ => Then::Dead(self.at()),
        }
    }

    fn when(&mut self) -> When {
        match self.0.below(3) {
            0 => When::Now,
            1 => When::After(self.number()),
            _ => When::At(self.at()),
        }
    }

    fn release(&mut self) -> Release {
        match self.0.below(4) {
            0 => Release::Held,
            1 => Release::Ready,
            2 => Release::Delayed(self.due()),
            _ => Release::Cancelled,
        }
    }

    fn lease(&mut self) -> Lease {
        Lease {
            id: self.id(),
            number: LeaseNumber(self.number()),
            nonce: self.word(),
            lease_ms: self.word(),
            deadline: self.at(),
        }
    }

    fn end(&mut self) -> End<'static> {
        End { at: self.at(), retain_ms: self.number(), result: self.maybe(Self::text) }
    }

    fn handle(&mut self) -> Handle {
        self.lease().handle()
    }

    fn answer(&mut self) -> Answer {
        if self.flag() {
            Answer::Pushed { first: self.id(), count: self.word() }
        } else {
            Answer::Claimed { handles: self.some(Self::handle) }
        }
    }

    fn unique(&mut self) -> Unique<'static> {
        let holds = [Hold::End, Hold::Start, Hold::AtMost(self.at()), Hold::Exactly(self.at())];
        Unique { token: self.text(), hold: holds[self.0.below(4) as usize] }
    }

    fn options(&mut self) -> Options<'static> {
        Options {
            priority: self.number() as i8,
            attempts: self.maybe(|make| make.word() as i32),
            lease_ms: self.maybe(Self::word),
            headers: self.text(),
            group: self.text(),
            unique: self.maybe(Self::unique),
            ttl_ms: NonZeroU64::new(self.number()),
            retain_ms: self.maybe(Self::number),
            batch: self.text(),
        }
    }

    /// An event of a kind with a form of its own.
    fn event(&mut self) -> Event<'static> {
        match self.0.below(12) {
            0 => Event::Pushed {
                first: self.id(),
                count: 1,
                due: self.maybe(Self::due),
                options: self.options(),
                payloads: &[b"payload"],
            },
            1 => Event::Claimed {
                at: self.at(),
                worker: self.text(),
                tied: self.flag(),
                leases: self.some(Self::lease),
            },
            2 => Event::Acked { id: self.id(), late: self.flag(), end: self.maybe(Self::end) },
            3 => Event::Answered {
                token: self.text(),
                at: self.at(),
                kept_until: self.at(),
                answer: self.answer(),
            },
            4 => Event::Taken { ids: self.some(Self::id), at: self.at() },
            5 => Event::Failed {
                id: self.id(),
                then: self.then(),
                error: self.text(),
                at: self.at(),
                progress: self.maybe(Self::text),
            },
            6 => Event::Requeued {
                id: self.id(),
                then: self.then(),
                back: self.flag(),
                progress: self.maybe(Self::text),
            },
            7 => Event::Extended { id: self.id(), deadline: self.at(), progress: self.maybe(Self::text) },
            8 => Event::Stalled { tasks: self.some(|make| (make.id(), make.maybe(Self::then))) },
            9 => Event::BecameReady { ids: self.some(Self::id), at: self.at() },
            10 => Event::PushedAfter {
                first: self.id(),
                count: 1,
                at: self.at(),
                when: self.when(),
                parents: self.some(|make| Parent { id: make.id(), is_open: make.flag() }),
                on_dead: OnDead::ALL[self.0.below(3) as usize],
                options: Box::new(self.options()),
                payloads: &[b"payload"],
            },
            _ => Event::Told {
                parent: self.maybe(Self::id),
                at: self.at(),
                tasks: self.some(|make| (make.id(), make.release())),
            },
        }
    }
}

fn sealed(events: &[Event], number: u64, at: Millis) -> Vec<u8> {
    let mut effect = Effect::default();
    events.iter().for_each(|event| effect.add(event));
    effect.seal(number, at, NAME, payloads(events)).to_vec()
}

fn payloads<'a>(events: &'a [Event<'a>]) -> Vec<&'a [u8]> {
    events.iter().flat_map(|event| event.changes().payloads.to_vec()).collect()
}

#[test]
fn events_with_any_values_read_back() {
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let mut make = Maker(&mut dice);
        let mut events = make.some(Maker::event);
        events.push(make.event());
        let (number, at) = (make.number() >> 16, Millis(make.number() >> 16));
        let bytes = sealed(&events, number, at);
        let beside = payloads(&events);
        let received = Effect::decode(NAME, &bytes, &beside).unwrap();
        assert_eq!(received.stamp, Some((number, at)));
        assert_eq!(received.events, events);
    }
}

#[test]
fn events_of_every_kind_read_back_together() {
    // Each event of a life, with one of a form of its own before and behind it.
    live(&mut |_, event| {
        let around = Event::Acked { id: TaskId { ms: START, seq: 1 }, late: true, end: None };
        let events = [around.clone(), event.clone(), around];
        let beside = payloads(&events);
        let bytes = sealed(&events, 1, Millis(START));
        assert_eq!(Effect::decode(NAME, &bytes, &beside).unwrap().events, events);
    });
}

#[test]
fn what_is_read_of_damaged_effects_reads_back() {
    let mut dice = Dice(8);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..50_000 {
        let mut events = Maker(&mut dice).some(Maker::event);
        events.push(Maker(&mut dice).event());
        let beside = payloads(&events);
        let mut bytes = without_checksum(&sealed(&events, 5, Millis(START)));
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(4) {
                0 => bytes[at] = dice.roll() as u8,
                1 => bytes[at] ^= 1 << dice.below(8),
                2 => bytes.insert(at, dice.roll() as u8),
                _ => _ = bytes.remove(at),
            }
        }
        match Effect::decode(NAME, &bytes, &beside) {
            Err(_) => refused += 1,
            Ok(received) => {
                accepted += 1;
                let events = received.events;
                // None of older versions, and no effect without events.
                if let Some((number, at)) = received.stamp.filter(|_| !events.is_empty()) {
                    let again = sealed(&events, number, at);
                    assert_eq!(Effect::decode(NAME, &again, &beside).map(|read| read.events), Ok(events));
                }
            }
        }
    }
    assert!(refused > 10_000 && accepted > 10_000, "{refused} refused, {accepted} accepted");
}

#[test]
fn the_effects_of_a_life_are_short() {
    let id = TaskId { ms: START, seq: 0 };
    let at = Millis(START + 20);
    let number = LeaseNumber(at.0 * 1000 + 3);
    let lease = Lease { id, number, nonce: 5, lease_ms: 30_000, deadline: at.plus(30_000) };
    let push =
        Event::Pushed { first: id, count: 1, due: None, options: Options::default(), payloads: &[b"x"] };
    let claim = Event::Claimed { at, worker: b"worker", tied: false, leases: vec![lease] };
    let ack = Event::Acked { id, late: false, end: None };
    let lengths = [push, claim, ack].map(|event| sealed(&[event], 1_000_000, at).len());
    // Up to 44 bytes, the server keeps a string in one piece.
    assert_eq!(lengths, [21, 37, 20]);
}
