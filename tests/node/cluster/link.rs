//! The link from a primary to a replica, and what a node remembers of the stream that it sends or gets.

use std::collections::VecDeque;
use std::rc::Rc;

use super::message::Message;

/// How many messages a node keeps for replicas that come back.
const BACKLOG: usize = 40;

/// A replica's link to its primary.
#[derive(Default)]
pub struct Link {
    /// The node that it replicates; `None` for a primary, and for a replica that has none.
    pub source: Option<usize>,
    /// Messages reach it. Otherwise it must connect again.
    pub is_up: bool,
    /// No message gets through, in both directions.
    pub is_cut: bool,
    /// The longest time that a message takes.
    pub delay_us: u64,
    inbox: VecDeque<(u64, Rc<Message>)>,
}

impl Link {
    /// A message is on its way. It does not overtake others.
    pub fn carry(&mut self, message: Rc<Message>, arrives: u64) {
        let before = self.inbox.back().map_or(0, |(at, _)| *at);
        self.inbox.push_back((arrives.max(before), message));
    }

    pub fn next(&mut self, t: u64) -> Option<Rc<Message>> {
        match self.inbox.front() {
            Some((arrives, _)) if *arrives <= t => self.inbox.pop_front().map(|(_, message)| message),
            _ => None,
        }
    }

    /// The connection is broken. What was on its way is lost.
    pub fn breaks(&mut self) {
        self.is_up = false;
        self.inbox.clear();
    }

    pub fn leaves(&mut self) {
        self.breaks();
        self.source = None;
    }
}

/// The stream of messages that a node sends, or passes on: its id, and how many there were. A promoted node begins a new
/// one, and knows up to where the old one was the same.
#[derive(Default, Clone)]
pub struct Stream {
    pub id: u64,
    pub offset: u64,
    older: Option<(u64, u64)>,
    backlog: VecDeque<Rc<Message>>,
}

impl Stream {
    pub fn new(id: u64) -> Stream {
        Stream { id, ..Stream::default() }
    }

    pub fn add(&mut self, message: Rc<Message>) {
        self.offset += 1;
        self.backlog.push_back(message);
        if self.backlog.len() > BACKLOG {
            self.backlog.pop_front();
        }
    }

    /// Goes on under another id.
    pub fn renames(&mut self, id: u64) {
        if self.id != id {
            self.older = Some((self.id, self.offset));
            self.id = id;
        }
    }

    /// The messages that a node lacks which has got `offset` messages of stream `id`; `None` if it needs all data.
    pub fn after(&self, id: u64, offset: u64) -> Option<Vec<Rc<Message>>> {
        let is_known = id == self.id || self.older.is_some_and(|(old, end)| id == old && offset <= end);
        let lacking = self.offset.checked_sub(offset)? as usize;
        let from = self.backlog.len().checked_sub(lacking)?;
        is_known.then(|| self.backlog.iter().skip(from).cloned().collect())
    }
}
