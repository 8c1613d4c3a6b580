//! What happened, line by line, for people.

#[derive(Default)]
pub struct Story {
    is_told: bool,
    lines: Vec<String>,
}

impl Story {
    /// A story that is told. By default none is, because that takes time.
    pub fn told() -> Story {
        Story { is_told: true, lines: Vec::new() }
    }

    pub fn says(&mut self, t: u64, line: impl FnOnce() -> String) {
        if self.is_told {
            self.lines.push(format!("{:10.3} s  {}", t as f64 / 1e6, line()));
        }
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}
