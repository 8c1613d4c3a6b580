//! Whether a queue can be changed.

/// The reason of a queue whose last part has not arrived yet.
const LOADING: &str = "its stored form has no end";
/// The beginning of the reason of a damaged queue; what is wrong follows. Files contain this text.
const DAMAGED: &str = "its stored form should have ";

/// Whether a queue can be changed, and if not, why. Files and INFO have it as a text, which is empty for a sound queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// The queue can be changed.
    #[default]
    Sound,
    /// The queue is being loaded in parts. Until the last part has arrived, it isn't known to be complete. This is the
    /// number of the next part; `None` if it isn't known, because an older version wrote the parts, or because the
    /// queue was stored between two of them.
    Loading(Option<u64>),
    /// A part of the queue is not valid. More parts may follow.
    Damaged(String),
    /// A change failed, or effects are missing. The queue can be read, but not changed.
    Broken(String),
}

impl Health {
    /// The health of a queue whose stored form lacks `what`.
    pub fn damaged(what: &str) -> Health {
        Health::Damaged(format!("{DAMAGED}{what}"))
    }

    /// The health that a text stands for.
    pub fn from_text(text: &[u8]) -> Health {
        let text = String::from_utf8_lossy(text);
        match &*text {
            "" => Health::Sound,
            LOADING => Health::Loading(None),
            damaged if damaged.starts_with(DAMAGED) => Health::Damaged(text.into_owned()),
            _ => Health::Broken(text.into_owned()),
        }
    }

    /// The text: why the queue can't be changed; empty if it can.
    pub fn text(&self) -> &str {
        match self {
            Health::Sound => "",
            Health::Loading(_) => LOADING,
            Health::Damaged(text) | Health::Broken(text) => text,
        }
    }

    /// Whether the queue can be changed.
    #[inline]
    pub fn is_sound(&self) -> bool {
        matches!(self, Health::Sound)
    }
}
