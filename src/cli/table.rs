//! Tables for people, JSON for programs.

use clap::ValueEnum;

/// `--format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Columns as wide as their widest cell and three spaces, twelve at least, as runc has them.
pub fn render<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let widths = widest(header, rows).map(|width| (width + 3).max(12));
    lines(&header, rows, &widths)
}

/// Columns two spaces apart; where a line would be longer than `width`, the last ones are
/// left out, and what is still too long is cut.
pub fn render_within<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    width: Option<usize>,
) -> String {
    let widths = widest(header, rows).map(|width| width + 2);
    let Some(width) = width else { return lines(&header, rows, &widths) };
    let fits = |count: &usize| widths[..*count].iter().sum::<usize>() <= width + 2;
    let count = (1..=N).rev().find(fits).unwrap_or(1);
    let text = lines(&header, rows, &widths[..count]);
    let cut = |line: &str| line.chars().take(width).chain(['\n']).collect::<String>();
    text.lines().map(cut).collect()
}

fn widest<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    })
}

/// As many columns as there are widths.
fn lines<const N: usize>(header: &[&str; N], rows: &[[String; N]], widths: &[usize]) -> String {
    let line = |cells: [&str; N]| -> String {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    line(*header) + &rows.collect::<String>()
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
}
