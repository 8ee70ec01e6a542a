//! Colours, where somebody looks.

use std::fmt;
use std::io::IsTerminal;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// No colours: for pipes and files.
    pub const NONE: Paint = Paint(false);

    /// Colours, whoever looks.
    #[cfg(test)]
    pub(super) const ALWAYS: Paint = Paint(true);

    /// Colours for a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is a dumb one.
    pub fn for_terminal(output: &impl IsTerminal) -> Paint {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint(output.is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    /// What is well.
    pub(super) fn good<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.with("32", text)
    }

    /// What needs a look.
    pub(super) fn bad<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.with("31", text)
    }

    /// What stands out.
    pub(super) fn bold<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.with("1", text)
    }

    /// What stands back.
    pub(super) fn faint<T: fmt::Display>(self, text: T) -> Painted<T> {
        self.with("2", text)
    }

    fn with<T: fmt::Display>(self, code: &'static str, text: T) -> Painted<T> {
        Painted { code: self.0.then_some(code), text }
    }
}

/// A text in a colour (ECMA-48 SGR), or without.
pub(super) struct Painted<T> {
    code: Option<&'static str>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    /// Padding is for the text, not for what colours it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => self.text.fmt(f),
            Some(code) => {
                write!(f, "\x1b[{code}m")?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
        }
    }
}
