//! Whether a queue may be changed.

/// Why a queue isn't sound while parts of it are still to come.
const LOADING: &str = "its stored form has no end";
/// Why a queue isn't sound that came damaged, before what is wrong.
const DAMAGED: &str = "its stored form should have ";

/// Whether a queue may be changed, and why not. Files and INFO hold it as a text, empty for a sound one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// It may be changed.
    #[default]
    Sound,
    /// Parts of it are still to come: until the end does, it isn't known to be whole.
    Loading,
    /// A part that came isn't valid; others may follow.
    Damaged(String),
    /// It was given up: it can be read, not changed.
    Broken(String),
}

impl Health {
    /// Of a queue whose stored form should have `what` and doesn't.
    pub fn damaged(what: &str) -> Health {
        Health::Damaged(format!("{DAMAGED}{what}"))
    }

    /// What a text means.
    pub fn from_text(text: &[u8]) -> Health {
        let text = String::from_utf8_lossy(text);
        match &*text {
            "" => Health::Sound,
            LOADING => Health::Loading,
            damaged if damaged.starts_with(DAMAGED) => Health::Damaged(text.into_owned()),
            _ => Health::Broken(text.into_owned()),
        }
    }

    /// The text: why the queue may not be changed, empty where it may.
    pub fn text(&self) -> &str {
        match self {
            Health::Sound => "",
            Health::Loading => LOADING,
            Health::Damaged(text) | Health::Broken(text) => text,
        }
    }

    /// Whether the queue may be changed.
    #[inline]
    pub fn is_sound(&self) -> bool {
        matches!(self, Health::Sound)
    }
}
