//! Tables for people, JSON for programs.

use std::io::{IsTerminal, stdout};

use clap::{Args, ValueEnum};

/// `--format`, for every verb that has it.
#[derive(Debug, Clone, Copy, Args)]
pub struct Formatted {
    /// A table for people, or JSON for programs
    #[arg(
        short,
        long,
        value_name = "table|json",
        default_value = "table",
        hide_possible_values = true
    )]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Formatted {
    pub fn format(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// What standard output can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// The columns of a terminal; `None` where lines may be of any length.
    pub width: Option<usize>,
    pub colours: bool,
}

impl Page {
    /// Colours for a terminal that has them, unless <https://no-color.org> forbids it.
    pub fn of_stdout() -> Page {
        let size = minirun::terminal_size(&stdout()).map(|size| usize::from(size.columns));
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let colours = stdout().is_terminal()
            && set("NO_COLOR").is_none()
            && set("TERM").is_some_and(|name| name != "dumb");
        Page { width: size.filter(|width| *width > 0), colours }
    }

    /// A text in the colour or the weight that `code` names (console_codes(4)).
    pub fn painted(self, text: &str, code: &str) -> String {
        match self.colours && !code.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[m"),
            false => text.to_owned(),
        }
    }
}

/// Columns as wide as their widest cell and three spaces, twelve at least, as runc has them.
pub fn render<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let widths = widest(header, rows).map(|width| (width + 3).max(12));
    lines(header, rows, &widths, |_, cell| cell)
}

/// Columns two spaces apart; where a line would be longer than the page, the last ones are
/// left out, and what is still too long is cut. `colour` gives the code for a cell.
pub fn render_within<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    page: Page,
    colour: impl Fn(usize, &str) -> &'static str,
) -> String {
    let mut widths = widest(header, rows).map(|width| width + 2);
    let limit = page.width.unwrap_or(usize::MAX - 2);
    let fits = |count: &usize| widths[..*count].iter().sum::<usize>() <= limit + 2;
    let count = (1..=N).rev().find(fits).unwrap_or(1);
    widths[0] = widths[0].min(limit + 2);
    lines(header, rows, &widths[..count], |column, cell| {
        let code = colour(column, cell.trim_end());
        if code.is_empty() { cell } else { page.painted(&cell, code) }
    })
}

/// The same, where the last column is cut rather than left out.
pub fn render_and_cut<const N: usize>(
    header: [&str; N],
    mut rows: Vec<[String; N]>,
    page: Page,
    colour: impl Fn(usize, &str) -> &'static str,
) -> String {
    let others: usize = widest(header, &rows)[..N - 1].iter().map(|width| width + 2).sum();
    let width = page.width.map_or(usize::MAX, |width| width.saturating_sub(others));
    for row in &mut rows {
        row[N - 1] = start(&row[N - 1], width.max(header[N - 1].len()));
    }
    render_within(header, &rows, page, colour)
}

fn widest<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    })
}

/// As many columns as there are widths; the last has no spaces behind it.
fn lines<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    widths: &[usize],
    finish: impl Fn(usize, String) -> String,
) -> String {
    let line = |cells: [&str; N], finish: &dyn Fn(usize, String) -> String| -> String {
        let last = (0..widths.len()).rev().find(|at| !cells[*at].is_empty()).unwrap_or(0);
        let cell = |at: usize| {
            let text = start(cells[at], widths[at].saturating_sub(2));
            let width = if at < last { widths[at] } else { 0 };
            finish(at, format!("{text:width$}"))
        };
        (0..=last).map(cell).chain(["\n".to_owned()]).collect()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str), &finish));
    line(header, &|_, cell| cell) + &rows.collect::<String>()
}

/// The first characters of a text, and a sign that there are more.
pub fn start(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// The last ones, which say most of a path.
pub fn end(text: &str, width: usize) -> String {
    match text.chars().count().checked_sub(width) {
        Some(more @ 1..) => ['…'].into_iter().chain(text.chars().skip(more + 1)).collect(),
        _ => text.to_owned(),
    }
}

/// A text in lines that fit; a word that is too long has one of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Without what would move a terminal's cursor: names and paths may be a container's.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a-rather-long-id".to_owned(), "1".to_owned()], ["b".into(), "22".into()]];
        let text = render(["ID", "PID"], &rows);
        assert_eq!(text, "ID                 PID\na-rather-long-id   1\nb                  22\n");
        assert_eq!(render(["ID", "PID"], &[]), "ID          PID\n");
    }

    #[test]
    fn a_table_is_no_wider_than_its_page_and_colours_have_no_width() {
        let rows = [["a-rather-long-id".to_owned(), "on".to_owned(), "x".repeat(30)]];
        let green = |column, cell: &str| if (column, cell) == (1, "on") { "32" } else { "" };
        for colours in [false, true] {
            let at = |width| {
                let page = Page { width: Some(width), colours };
                let text = render_within(["ID", "IS", "MORE"], &rows, page, green);
                text.replace("\x1b[32m", "<").replace("\x1b[m", ">")
            };
            let on = if colours { "<on>" } else { "on" };
            assert_eq!(at(30), format!("ID                IS\na-rather-long-id  {on}\n"));
            assert_eq!(at(10), "ID\na-rather-…\n");
            assert!(at(52).contains("xxx") && !at(51).contains("xxx"));
        }
    }

    #[test]
    fn what_is_too_long_keeps_its_start_or_its_end() {
        assert_eq!((start("abcdef", 6), start("abcdef", 4)), ("abcdef".into(), "abc…".into()));
        assert_eq!((end("/a/b/c", 6), end("/a/b/c", 4)), ("/a/b/c".into(), "…b/c".into()));
        assert_eq!(printable("a\x1b[2J\nü"), "a?[2J?ü");
    }
}
