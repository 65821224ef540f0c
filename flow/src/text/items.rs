//! Cuts a line of flow text into words with values: `word`, `word=value`, `word:value`,
//! `word(value)`, separated by commas and white space.

use super::error::{Problem, TextError};

/// A word and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// The word, without quotes.
    pub(super) word: &'a str,
    /// Its byte offset in the line.
    pub(super) at: usize,
    /// The value, without quotes or its own parentheses.
    pub(super) value: Option<&'a str>,
    /// Byte offset of the value in the line.
    pub(super) value_at: usize,
}

/// Something wrong at a byte offset of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte offset in the line.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) problem: Problem,
}

impl Fault {
    pub(super) const fn new(at: usize, problem: Problem) -> Self {
        Self { at, problem }
    }

    /// The error as users see it, for a fault in `line`, which is number `number` from 1.
    pub(super) fn in_line(self, source_name: &str, line: &str, number: u32) -> TextError {
        let before = line.char_indices().take_while(|(offset, _)| *offset < self.at).count();
        TextError {
            source_name: source_name.to_owned(),
            line: number,
            column: u32::try_from(before + 1).unwrap_or(u32::MAX),
            problem: self.problem,
        }
    }
}

impl<'a> Item<'a> {
    /// The value, or what was expected.
    pub(super) fn need_value(&self, expected: impl Into<String>) -> Result<&'a str, Fault> {
        match self.value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => {
                let word = self.word.to_owned();
                let problem = Problem::MissingValue { word, expected: expected.into() };
                Err(Fault::new(self.at, problem))
            }
        }
    }

    /// The word with its value, for messages.
    pub(super) fn word_and(&self, value: &str) -> String {
        format!("{}:{value}", self.word)
    }

    /// Complains about a value.
    pub(super) fn need_no_value(&self) -> Result<(), Fault> {
        match self.value {
            None | Some("") => Ok(()),
            Some(_) => {
                let problem = Problem::UnexpectedValue { word: self.word.to_owned() };
                Err(Fault::new(self.value_at, problem))
            }
        }
    }

    /// The fault of a value that is not `expected`.
    pub(super) fn bad_value(&self, expected: impl Into<String>) -> Fault {
        let value = self.value.unwrap_or_default().to_owned();
        let problem =
            Problem::BadValue { word: self.word.to_owned(), value, expected: expected.into() };
        Fault::new(self.value_at, problem)
    }
}

/// Reads the items of `line[start..end]`.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    line: &'a str,
    position: usize,
    end: usize,
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n')
}

impl<'a> Items<'a> {
    pub(super) const fn new(line: &'a str, start: usize, end: usize) -> Self {
        Self { line, position: start, end }
    }

    fn byte(&self) -> Option<u8> {
        self.line.as_bytes()[..self.end].get(self.position).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.byte().is_some_and(&wanted) {
            self.position += 1;
        }
    }

    /// The text of a quoted string; the position is at its opening quote.
    fn quoted(&mut self) -> Result<(&'a str, usize), Fault> {
        let open = self.position;
        self.position += 1;
        let start = self.position;
        self.skip_while(|byte| byte != b'"');
        if self.byte().is_none() {
            return Err(Fault::new(open, Problem::UnbalancedQuotes));
        }
        self.position += 1;
        Ok((&self.line[start..self.position - 1], start))
    }

    /// Text up to a separator outside parentheses.
    fn bare_value(&mut self) -> Result<(&'a str, usize), Fault> {
        if self.byte() == Some(b'"') {
            return self.quoted();
        }
        let start = self.position;
        let mut depth = 0_u32;
        while let Some(byte) = self.byte() {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 0 => {
                    return Err(Fault::new(self.position, Problem::Unbalanced));
                }
                b')' => depth -= 1,
                _ if depth == 0 && is_separator(byte) => break,
                _ => {}
            }
            self.position += 1;
        }
        if depth > 0 {
            return Err(Fault::new(start, Problem::Unbalanced));
        }
        Ok((&self.line[start..self.position], start))
    }

    /// Text between parentheses; the position is at the opening one.
    fn parenthesised(&mut self) -> Result<(&'a str, usize), Fault> {
        let open = self.position;
        let mut depth = 0_u32;
        while let Some(byte) = self.byte() {
            self.position += 1;
            match byte {
                b'(' => depth += 1,
                b')' if depth == 1 => {
                    return Ok((&self.line[open + 1..self.position - 1], open + 1));
                }
                b')' => depth -= 1,
                _ => {}
            }
        }
        Err(Fault::new(open, Problem::Unbalanced))
    }

    fn item(&mut self) -> Result<Item<'a>, Fault> {
        let at = self.position;
        let word = if self.byte() == Some(b'"') {
            self.quoted()?.0
        } else {
            self.skip_while(|byte| !is_separator(byte) && !matches!(byte, b'=' | b':' | b'('));
            &self.line[at..self.position]
        };
        let (value, value_at) = match self.byte() {
            Some(b'=' | b':') => {
                self.position += 1;
                let (value, value_at) = self.bare_value()?;
                (Some(value), value_at)
            }
            Some(b'(') => {
                let (value, value_at) = self.parenthesised()?;
                (Some(value), value_at)
            }
            _ => (None, self.position),
        };
        if let Some(stray) = word.find(')') {
            return Err(Fault::new(at + stray, Problem::Unbalanced));
        }
        Ok(Item { word, at, value, value_at })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_while(is_separator);
        self.byte()?;
        let item = self.item();
        if item.is_err() {
            self.position = self.end;
        }
        Some(item)
    }
}

/// The known word nearest to `word`, if it is near enough to be a slip.
pub(super) fn nearest(
    word: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let slips_max = match word.len() {
        0..=2 => return None,
        3..=4 => 1,
        _ => 2,
    };
    let (slips, best) = known.map(|name| (distance(word, name), name)).min()?;
    (slips <= slips_max).then_some(best)
}

/// Edit distance with swaps of neighbours counted as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase().into_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            least = least.min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}
