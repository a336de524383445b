//! Check of a whole text before it is divided: quotes that never end, text behind a closing quote,
//! and control characters.
//!
//! A state machine over the bytes, as RFC 4180 has the grammar: a value is quoted if its first
//! character is a quote, and a quote within a quoted value is doubled. Bytes above
//! 0x7F are parts of characters and never one of those that the machine looks for.

use std::ops::Range;

use crate::{Fault, MOST_CHARACTERS, Separator, SheetError};

/// Place of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a line, where a comment may begin.
    LineStart,
    /// Before the first character of a value.
    ValueStart,
    /// After blanks at the beginning of a value.
    Blank,
    /// In a value without quotes.
    Bare,
    /// In a quoted value.
    Quoted,
    /// After a quote in a quoted value: the end of it, or the first of two.
    Closing,
    /// After blanks behind a quoted value.
    Closed,
    /// In a line that is left out.
    Comment,
}

/// Lines of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Number of the last line.
    pub(crate) all: u64,
    /// Places of the comment lines in the text, without their breaks.
    pub(crate) comments: Vec<Range<usize>>,
}

/// Checks a text whose first line has this number.
pub(crate) fn check(
    text: &str,
    separator: Separator,
    first_line: u64,
) -> Result<Lines, SheetError> {
    let mut machine = Machine {
        separator: separator.byte(),
        state: State::LineStart,
        line: first_line,
        column: 1,
        opened: (0, 0),
        length: 0,
        comments: Vec::new(),
    };
    let mut bytes = text.bytes().enumerate().peekable();
    let mut ended = 0;
    while let Some((place, byte)) = bytes.next() {
        let is_break =
            byte == b'\n' || (byte == b'\r' && bytes.peek().is_none_or(|next| next.1 != b'\n'));
        if is_break {
            machine.ends_line();
            ended = place.saturating_add(1);
        } else if byte != b'\r' {
            machine.takes(byte, text, place)?;
        }
    }
    if machine.state == State::Quoted {
        let (line, column) = machine.opened;
        return Err(SheetError::within(
            line,
            column.to_string(),
            Fault::UnclosedQuote,
        ));
    }
    // A last line without a break counts as one.
    let all = if ended < text.len() {
        machine.line
    } else {
        machine.line.saturating_sub(1)
    };
    Ok(Lines {
        all,
        comments: machine.comments,
    })
}

struct Machine {
    separator: u8,
    state: State,
    line: u64,
    /// Number of the value within its row.
    column: usize,
    /// Line and column in which the quote under way began.
    opened: (u64, usize),
    /// Bytes of the value under way.
    length: usize,
    comments: Vec<Range<usize>>,
}

impl Machine {
    const fn ends_line(&mut self) {
        self.line = self.line.saturating_add(1);
        if !matches!(self.state, State::Quoted) {
            self.state = State::LineStart;
            self.column = 1;
            self.length = 0;
        }
    }

    fn takes(&mut self, byte: u8, text: &str, place: usize) -> Result<(), SheetError> {
        if self.state == State::Comment {
            if let Some(comment) = self.comments.last_mut() {
                comment.end = place.saturating_add(1);
            }
            return Ok(());
        }
        if byte == self.separator && self.state != State::Quoted {
            self.state = State::ValueStart;
            self.column = self.column.saturating_add(1);
            self.length = 0;
            return Ok(());
        }
        self.refuse_control(byte, text, place)?;
        self.length = self.length.saturating_add(1);
        if self.length > MOST_CHARACTERS {
            return Err(self.at(Fault::TooLong));
        }
        self.state = match (self.state, byte) {
            (State::LineStart, b'#') => {
                self.comments.push(place..place.saturating_add(1));
                State::Comment
            }
            (State::LineStart | State::ValueStart, b'"') => {
                self.opened = (self.line, self.column);
                State::Quoted
            }
            // The reader takes a quote behind a blank for a character like any other.
            (State::Blank, b'"') => return Err(self.at(Fault::BlankBeforeQuote)),
            (State::LineStart | State::ValueStart | State::Blank, b' ' | b'\t') => State::Blank,
            (State::LineStart | State::ValueStart | State::Blank, _) => State::Bare,
            (State::Quoted, b'"') => State::Closing,
            (State::Closing, b'"') => State::Quoted,
            (State::Closing | State::Closed, b' ' | b'\t') => State::Closed,
            (State::Closing | State::Closed, _) => return Err(self.at(Fault::AfterQuote)),
            (state @ (State::Bare | State::Quoted | State::Comment), _) => state,
        };
        Ok(())
    }

    /// Refuses control characters of ASCII and of Latin-1; the latter are two bytes, C2 80 to C2 9F.
    fn refuse_control(&self, byte: u8, text: &str, place: usize) -> Result<(), SheetError> {
        let is_ascii = byte < 0x20 && byte != b'\t' || byte == 0x7f;
        let is_latin = byte == 0xc2;
        if !is_ascii && !is_latin {
            return Ok(());
        }
        let character = text.get(place..).and_then(|rest| rest.chars().next());
        match character {
            Some(character) if character.is_control() => {
                Err(self.at(Fault::Control(u32::from(character))))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn at(&self, fault: Fault) -> SheetError {
        SheetError::within(self.line, self.column.to_string(), fault)
    }
}

/// Returns the parts of a line that stand outside of quotes.
pub(crate) fn outside(line: &str) -> String {
    let mut is_quoted = false;
    line.chars()
        .filter(|character| {
            if *character == '"' {
                is_quoted = !is_quoted;
            }
            !is_quoted
        })
        .collect()
}
