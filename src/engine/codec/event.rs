//! Events in the compact form that effects have since version 4.
//!
//! An event is a number for its kind, then its fields in order. The events of every task's life have numbers of their
//! own (`compact!`). All others share one: a length and MessagePack, as in version 3.
//!
//! Numbers and lengths are varints. An instant is its distance from the effect's first instant, and a lease number its
//! distance from that instant in microseconds, because they are close together. Distances wrap, so every number of 64
//! bits has one.

use crate::bounds::BATCH_MAX;
use crate::event::{End, Event, Lease, Release, Then};
use crate::pack;
use crate::request::Answer;
use crate::task::{Handle, Hold, LeaseNumber, OnDead, Options, Parent, TaskId, Unique};
use crate::time::{Due, Millis, When};
use crate::varint;

/// Comes instead of the number of an event: there are no more.
pub(super) const END: u8 = 0;
/// An event without a number of its own.
const OTHER: u8 = 1;

/// The events with numbers of their own, and their fields in order. Neither ever changes: an event with another field
/// gets another number. Behind the semicolon is what travels beside the effect. Below are the numbers that are only
/// read, and behind the semicolon what the event has got since.
macro_rules! compact {
    (
        $($number:literal $kind:ident { $($field:ident),+ $(; $beside:ident)? })+
        read: $($old:literal $was:ident { $($had:ident),+; $($since:ident),+ })+
    ) => {
        impl<'a> Coded<'a> for Event<'a> {
            fn put(&self, to: &mut Writer<'_>) {
                match self {
                    $(Event::$kind { $($field,)+ $($beside: _)? } => {
                        to.out.push($number);
                        $($field.put(to);)+
                    })+
                    other => {
                        to.out.push(OTHER);
                        pack::encode(other).as_slice().put(to);
                    }
                }
            }

            fn get(from: &mut Reader<'a>) -> Option<Event<'a>> {
                Some(match from.byte()? {
                    $($number => Event::$kind {
                        $($field: Coded::get(from)?,)+
                        $($beside: Default::default())?
                    },)+
                    $($old => Event::$was {
                        $($had: Coded::get(from)?,)+
                        $($since: Default::default(),)+
                    },)+
                    OTHER => pack::decode(Coded::get(from)?)?,
                    _ => return None,
                })
            }
        }
    };
}

compact! {
    2 Pushed { first, count, due, options; payloads }
    3 Claimed { at, worker, tied, leases }
    4 Acked { id, late, end }
    5 Answered { token, at, kept_until, answer }
    6 Taken { ids, at }
    9 Extended { id, deadline, progress }
    10 Stalled { tasks }
    11 BecameReady { ids, at }
    12 Failed { id, then, error, at, progress }
    13 Requeued { id, then, back, progress }
    20 PushedAfter { first, count, at, when, parents, on_dead, options; payloads }
    21 Told { parent, at, tasks }
    read:
    7 Failed { id, then, error; at, progress }
    8 Requeued { id, then, back; progress }
}

/// Appends the events of one effect.
pub(super) struct Writer<'o> {
    pub out: &'o mut Vec<u8>,
    /// The first instant of the effect that isn't 0; 0 before that.
    pub base: u64,
}

/// Reads the events of one effect. It checks their form, not whether they fit a queue.
pub(super) struct Reader<'a> {
    pub rest: &'a [u8],
    base: u64,
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest, base: 0 }
    }

    /// Skips the end of the events if it comes next, and returns whether it did.
    pub fn ends(&mut self) -> bool {
        let behind = self.rest.strip_prefix(&[END]);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }
}

/// A value with a compact form.
pub(super) trait Coded<'a>: Sized {
    fn put(&self, to: &mut Writer<'_>);
    /// Takes the value off the front. `None` if the bytes there are none.
    fn get(from: &mut Reader<'a>) -> Option<Self>;
}

impl<'a> Coded<'a> for u64 {
    fn put(&self, to: &mut Writer<'_>) {
        varint::put(to.out, *self);
    }

    fn get(from: &mut Reader<'a>) -> Option<u64> {
        varint::get(&mut from.rest)
    }
}

impl<'a> Coded<'a> for u32 {
    fn put(&self, to: &mut Writer<'_>) {
        u64::from(*self).put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<u32> {
        u64::get(from)?.try_into().ok()
    }
}

/// The sign is in the lowest bit, so that numbers near 0 are short.
impl<'a> Coded<'a> for i64 {
    fn put(&self, to: &mut Writer<'_>) {
        ((self << 1 ^ self >> 63) as u64).put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<i64> {
        let coded = u64::get(from)?;
        Some((coded >> 1 ^ (coded & 1).wrapping_neg()) as i64)
    }
}

impl<'a> Coded<'a> for bool {
    fn put(&self, to: &mut Writer<'_>) {
        to.out.push(u8::from(*self));
    }

    fn get(from: &mut Reader<'a>) -> Option<bool> {
        match from.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<'a> Coded<'a> for &'a [u8] {
    fn put(&self, to: &mut Writer<'_>) {
        varint::put(to.out, self.len() as u64);
        to.out.extend_from_slice(self);
    }

    fn get(from: &mut Reader<'a>) -> Option<&'a [u8]> {
        varint::get_bytes(&mut from.rest)
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Option<T> {
    fn put(&self, to: &mut Writer<'_>) {
        self.is_some().put(to);
        self.iter().for_each(|value| value.put(to));
    }

    fn get(from: &mut Reader<'a>) -> Option<Option<T>> {
        if bool::get(from)? { T::get(from).map(Some) } else { Some(None) }
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Vec<T> {
    fn put(&self, to: &mut Writer<'_>) {
        varint::put(to.out, self.len() as u64);
        self.iter().for_each(|value| value.put(to));
    }

    fn get(from: &mut Reader<'a>) -> Option<Vec<T>> {
        let count = u64::get(from)?;
        // A damaged count may be far larger than what follows.
        let mut values = Vec::with_capacity(count.min(BATCH_MAX as u64) as usize);
        for _ in 0..count {
            values.push(T::get(from)?);
        }
        Some(values)
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for Box<T> {
    fn put(&self, to: &mut Writer<'_>) {
        (**self).put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<Box<T>> {
        T::get(from).map(Box::new)
    }
}

impl<'a, A: Coded<'a>, B: Coded<'a>> Coded<'a> for (A, B) {
    fn put(&self, to: &mut Writer<'_>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<(A, B)> {
        Some((A::get(from)?, B::get(from)?))
    }
}

impl<'a> Coded<'a> for Millis {
    fn put(&self, to: &mut Writer<'_>) {
        (self.0.wrapping_sub(to.base) as i64).put(to);
        if to.base == 0 {
            to.base = self.0;
        }
    }

    fn get(from: &mut Reader<'a>) -> Option<Millis> {
        let instant = from.base.wrapping_add_signed(i64::get(from)?);
        if from.base == 0 {
            from.base = instant;
        }
        Some(Millis(instant))
    }
}

impl<'a> Coded<'a> for LeaseNumber {
    fn put(&self, to: &mut Writer<'_>) {
        (self.0.wrapping_sub(to.base.wrapping_mul(1000)) as i64).put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<LeaseNumber> {
        Some(LeaseNumber(from.base.wrapping_mul(1000).wrapping_add_signed(i64::get(from)?)))
    }
}

impl<'a> Coded<'a> for TaskId {
    fn put(&self, to: &mut Writer<'_>) {
        Millis(self.ms).put(to);
        self.seq.put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<TaskId> {
        Some(TaskId { ms: Millis::get(from)?.0, seq: Coded::get(from)? })
    }
}

impl<'a> Coded<'a> for Handle {
    fn put(&self, to: &mut Writer<'_>) {
        self.id.put(to);
        self.lease.put(to);
        // Random bits are four bytes.
        to.out.extend_from_slice(&self.nonce.to_le_bytes());
    }

    fn get(from: &mut Reader<'a>) -> Option<Handle> {
        let (id, lease) = Coded::get(from)?;
        let (nonce, rest) = from.rest.split_first_chunk()?;
        from.rest = rest;
        Some(Handle { id, lease, nonce: u32::from_le_bytes(*nonce) })
    }
}

impl<'a> Coded<'a> for Lease {
    fn put(&self, to: &mut Writer<'_>) {
        self.handle().put(to);
        self.lease_ms.put(to);
        // Mostly the instant of the claim.
        Millis(self.deadline.0.wrapping_sub(self.lease_ms.into())).put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<Lease> {
        let Handle { id, lease: number, nonce } = Coded::get(from)?;
        let lease_ms = u32::get(from)?;
        let deadline = Millis(Millis::get(from)?.0.wrapping_add(lease_ms.into()));
        Some(Lease { id, number, nonce, lease_ms, deadline })
    }
}

impl<'a> Coded<'a> for End<'a> {
    fn put(&self, to: &mut Writer<'_>) {
        self.at.put(to);
        self.retain_ms.put(to);
        self.result.put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<End<'a>> {
        Some(End { at: Coded::get(from)?, retain_ms: Coded::get(from)?, result: Coded::get(from)? })
    }
}

/// The compact form of an enum: a number for each variant, then its field.
macro_rules! variants {
    ($type:ident: $($number:literal $variant:ident)+) => {
        impl<'a> Coded<'a> for $type {
            fn put(&self, to: &mut Writer<'_>) {
                match self {
                    $($type::$variant(field) => {
                        to.out.push($number);
                        field.put(to);
                    })+
                }
            }

            fn get(from: &mut Reader<'a>) -> Option<$type> {
                match from.byte()? {
                    $($number => Coded::get(from).map($type::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

impl<'a> Coded<'a> for Parent {
    fn put(&self, to: &mut Writer<'_>) {
        self.id.put(to);
        self.is_open.put(to);
    }

    fn get(from: &mut Reader<'a>) -> Option<Parent> {
        Some(Parent { id: Coded::get(from)?, is_open: Coded::get(from)? })
    }
}

impl<'a> Coded<'a> for OnDead {
    fn put(&self, to: &mut Writer<'_>) {
        to.out.push(match self {
            OnDead::Wait => 0,
            OnDead::Run => 1,
            OnDead::Drop => 2,
        });
    }

    fn get(from: &mut Reader<'a>) -> Option<OnDead> {
        OnDead::ALL.get(usize::from(from.byte()?)).copied()
    }
}

impl<'a> Coded<'a> for When {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            When::Now => to.out.push(0),
            When::After(ms) => {
                to.out.push(1);
                ms.put(to);
            }
            When::At(at) => {
                to.out.push(2);
                at.put(to);
            }
        }
    }

    fn get(from: &mut Reader<'a>) -> Option<When> {
        match from.byte()? {
            0 => Some(When::Now),
            1 => Coded::get(from).map(When::After),
            2 => Coded::get(from).map(When::At),
            _ => None,
        }
    }
}

impl<'a> Coded<'a> for Release {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Release::Held => to.out.push(0),
            Release::Ready => to.out.push(1),
            Release::Delayed(due) => {
                to.out.push(2);
                due.put(to);
            }
            Release::Cancelled => to.out.push(3),
        }
    }

    fn get(from: &mut Reader<'a>) -> Option<Release> {
        match from.byte()? {
            0 => Some(Release::Held),
            1 => Some(Release::Ready),
            2 => Coded::get(from).map(Release::Delayed),
            3 => Some(Release::Cancelled),
            _ => None,
        }
    }
}

variants! { Due: 0 Clock 1 Wall }
variants! { Then: 0 Ready 1 Delayed 2 Dead }

impl<'a> Coded<'a> for Answer {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            Answer::Pushed { first, count } => {
                to.out.push(0);
                first.put(to);
                count.put(to);
            }
            Answer::Claimed { handles } => {
                to.out.push(1);
                handles.put(to);
            }
        }
    }

    fn get(from: &mut Reader<'a>) -> Option<Answer> {
        match from.byte()? {
            0 => Some(Answer::Pushed { first: Coded::get(from)?, count: Coded::get(from)? }),
            1 => Some(Answer::Claimed { handles: Coded::get(from)? }),
            _ => None,
        }
    }
}

impl<'a> Coded<'a> for Unique<'a> {
    fn put(&self, to: &mut Writer<'_>) {
        self.token.put(to);
        to.out.push(match self.hold {
            Hold::End => 0,
            Hold::Start => 1,
            Hold::AtMost(_) => 2,
            Hold::Exactly(_) => 3,
        });
        self.hold.until().iter().for_each(|until| until.put(to));
    }

    fn get(from: &mut Reader<'a>) -> Option<Unique<'a>> {
        let token = Coded::get(from)?;
        let hold = match from.byte()? {
            0 => Hold::End,
            1 => Hold::Start,
            2 => Hold::AtMost(Coded::get(from)?),
            3 => Hold::Exactly(Coded::get(from)?),
            _ => return None,
        };
        Some(Unique { token, hold })
    }
}

/// A bit for each option that is given, then the options. Most tasks have none.
impl<'a> Coded<'a> for Options<'a> {
    fn put(&self, to: &mut Writer<'_>) {
        // Names each field, so that another one doesn't compile until it is added.
        let Options { priority, attempts, lease_ms, headers, group, unique, ttl_ms, retain_ms, batch } =
            *self;
        let priority = Some(i64::from(priority)).filter(|priority| *priority != 0);
        let attempts = attempts.map(i64::from);
        let [headers, group, batch] =
            [headers, group, batch].map(|text| Some(text).filter(|text| !text.is_empty()));
        let given = [
            priority.is_some(),
            attempts.is_some(),
            lease_ms.is_some(),
            headers.is_some(),
            group.is_some(),
            unique.is_some(),
            ttl_ms.is_some(),
            retain_ms.is_some(),
            batch.is_some(),
        ];
        given.iter().rev().fold(0, |bits, is_given| bits << 1 | u64::from(*is_given)).put(to);
        [priority, attempts].iter().flatten().for_each(|number| number.put(to));
        lease_ms.iter().for_each(|ms| ms.put(to));
        [headers, group].iter().flatten().for_each(|text| text.put(to));
        unique.iter().for_each(|unique| unique.put(to));
        [ttl_ms, retain_ms].iter().flatten().for_each(|ms| ms.put(to));
        batch.iter().for_each(|name| name.put(to));
    }

    fn get(from: &mut Reader<'a>) -> Option<Options<'a>> {
        let mut bits = u64::get(from)?;
        let mut next = || {
            let is_given = bits & 1 == 1;
            bits >>= 1;
            is_given
        };
        let options = Options {
            priority: if next() { i64::get(from)?.try_into().ok()? } else { 0 },
            attempts: if next() { Some(i64::get(from)?.try_into().ok()?) } else { None },
            lease_ms: if next() { Some(Coded::get(from)?) } else { None },
            headers: if next() { Coded::get(from)? } else { &[] },
            group: if next() { Coded::get(from)? } else { &[] },
            unique: if next() { Some(Coded::get(from)?) } else { None },
            ttl_ms: if next() { Some(Coded::get(from)?) } else { None },
            retain_ms: if next() { Some(Coded::get(from)?) } else { None },
            batch: if next() { Coded::get(from)? } else { &[] },
        };
        // A later version may know more options.
        (bits == 0).then_some(options)
    }
}
