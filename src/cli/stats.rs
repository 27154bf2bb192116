//! `minirun stats`: what containers use, a row each.

use std::time::{Duration, Instant};

use clap::Parser;
use minirun::container::{Meter, Pressure, Usage};
use minirun::{Error, Signals};

use super::CarryOut;
use super::global::Global;
use super::table::{self, Format, Formatted, Page};
use super::values;

/// Show what running containers use: processors, memory, devices
///
/// CPU is in percent of one processor. PSI is pressure stall information: the percentage of
/// the last ten seconds in which some / all processes of a container had to wait. A dash
/// stands where nothing counts or limits. JSON is an array a line. On a narrow terminal columns are left out, on the
/// right ones first.
#[derive(Debug, Parser)]
pub struct Stats {
    /// Show it again and again, until Ctrl-C or the end of the containers that are named
    #[arg(short, long)]
    watch: bool,
    /// Time over which processor time is measured, and from one table to the next
    #[arg(short, long, value_name = "TIME", value_parser = values::interval, default_value = "1s")]
    interval: Duration,
    #[command(flatten)]
    formatted: Formatted,
    /// The containers; all that run when none is named
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// How long somebody may be shown nothing at first.
const FIRST: Duration = Duration::from_secs(1);

/// For a terminal: erases the rest of the line, and of the screen.
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";
const CLEAR: &str = "\x1b[H\x1b[2J";

impl CarryOut for Stats {
    const NOTES: &'static str = "\
Examples:
  minirun stats                all that run, once
  minirun stats --watch web    again and again, until Ctrl-C";

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let mut meter = Meter::new(&global.store()?, &self.ids)?;
        meter.read()?;
        if self.watch {
            return self.watch(&mut meter);
        }
        let measuring = || "stats: measuring".to_owned();
        super::progress::told(global, measuring, || std::thread::sleep(self.interval));
        super::print(&self.render(&meter.read()?, Page::of_stdout()))?;
        Ok(0)
    }
}

impl Stats {
    fn watch(&self, meter: &mut Meter) -> Result<u8, Error> {
        let signals = Signals::only(&[libc::SIGINT, libc::SIGWINCH, libc::SIGCONT])?;
        let mut screen = Screen::default();
        let mut usages = Vec::new();
        let mut pause = self.interval.min(FIRST);
        loop {
            let start = Instant::now();
            while let Some(signal) = signals.sleep(pause.saturating_sub(start.elapsed())) {
                match signal {
                    libc::SIGINT => return screen.leave(),
                    // What wrapped or scrolled is anywhere.
                    libc::SIGWINCH => screen.home = CLEAR.to_owned(),
                    // The shell has written below the table.
                    _ => screen.home.clear(),
                }
                if !usages.is_empty() {
                    screen.show(|page| self.render(&usages, page))?;
                }
            }
            pause = self.interval;
            usages = meter.read()?;
            let has_ended = usages.is_empty() && !self.ids.is_empty();
            if has_ended || !screen.show(|page| self.render(&usages, page))? {
                return Ok(0);
            }
        }
    }

    fn render(&self, usages: &[Usage], page: Page) -> String {
        match self.formatted.format() {
            Format::Json => serde_json::json!(usages).to_string() + "\n",
            Format::Table => render(usages, page),
        }
    }
}

/// Standard output, a terminal or not.
#[derive(Default)]
struct Screen {
    /// What brings a terminal's cursor to where the next table is to stand.
    home: String,
}

impl Screen {
    /// Shows a text in the place of the one before; whether there is a reader for more.
    fn show(&mut self, text: impl Fn(Page) -> String) -> Result<bool, Error> {
        let text = text(Page::of_stdout());
        let size = minirun::terminal_size(&std::io::stdout());
        let Some(size) = size else { return super::print_to_reader(&text) };
        // More would scroll, and its beginning couldn't be reached any more.
        let lines: Vec<&str> = text.lines().take(usize::from(size.rows.max(2)) - 1).collect();
        let drawn: String = lines.iter().map(|line| format!("{line}{ERASE_LINE}\n")).collect();
        let home = std::mem::replace(&mut self.home, format!("\r\x1b[{}A", lines.len()));
        super::print_to_reader(&format!("{home}{drawn}{ERASE_BELOW}"))
    }

    /// Ends below the table, and below the ^C that the terminal shows there.
    fn leave(&self) -> Result<u8, Error> {
        super::print(if self.home.is_empty() { "" } else { "\n" })?;
        Ok(0)
    }
}

fn render(usages: &[Usage], page: Page) -> String {
    let header = [
        "ID",
        "CPU",
        "OF LIMIT",
        "MEMORY / LIMIT",
        "OF LIMIT",
        "PIDS / LIMIT",
        "READ / WRITTEN",
        "PSI MEMORY",
        "PSI CPU",
        "PSI IO",
    ];
    let rows: Vec<_> = usages.iter().map(|usage| row(usage, page)).collect();
    table::render_within(header, &rows, page, |_, _| "")
}

fn row(usage: &Usage, page: Page) -> [String; 10] {
    let pair =
        |one: Option<String>, other: Option<String>| format!("{} / {}", dash(one), dash(other));
    let number = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    let count = |pids: Option<u64>| pids.map(|pids| pids.to_string());
    [
        // Engines give ids of 64 characters.
        table::start(&usage.id, page.width.map_or(usize::MAX, |width| width / 4)),
        dash(usage.cpus.map(percent)),
        dash(share(usage.cpus, usage.cpus_limit)),
        pair(usage.memory_bytes.map(bytes), usage.memory_limit_bytes.map(bytes)),
        dash(share(number(usage.memory_bytes), number(usage.memory_limit_bytes))),
        pair(count(usage.pids), count(usage.pids_limit)),
        pair(usage.read_bytes.map(bytes), usage.written_bytes.map(bytes)),
        dash(usage.memory_pressure.map(pressure)),
        dash(usage.cpu_pressure.map(pressure)),
        dash(usage.io_pressure.map(pressure)),
    ]
}

fn dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn share(part: Option<f64>, whole: Option<f64>) -> Option<String> {
    Some(percent(part? / whole.filter(|whole| *whole > 0.0)?))
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn pressure(pressure: Pressure) -> String {
    format!("{:.1} / {:.1}", pressure.some, pressure.full)
}

/// At most three digits and a unit: 640KiB, 1.5GiB.
pub fn bytes(bytes: u64) -> String {
    let mut number = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        // What would be rounded to a fourth digit is the next unit's.
        if number < 999.5 {
            let text = format!("{number:.*}", usize::from(number < 99.95));
            return text.trim_end_matches(".0").to_owned() + unit;
        }
        number /= 1024.0;
    }
    format!("{number:.0}EiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(id: &str) -> Usage {
        let mut usage = Usage::default();
        usage.id = id.to_owned();
        usage
    }

    #[test]
    fn bytes_have_three_digits_at_most() {
        let numbers = [0, 999, 1000, 1024, 1536, 65 << 20, 101_990, 1_048_000, 3 << 30, u64::MAX];
        let texts =
            ["0B", "999B", "1KiB", "1KiB", "1.5KiB", "65MiB", "99.6KiB", "1MiB", "3GiB", "16EiB"];
        for (number, text) in numbers.into_iter().zip(texts) {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn a_row_tells_use_and_limit_or_a_dash() {
        let mut busy = usage("busy");
        (busy.cpus, busy.cpus_limit) = (Some(0.1984), Some(0.2));
        (busy.memory_bytes, busy.memory_limit_bytes) = (Some(48 << 20), Some(64 << 20));
        (busy.pids, busy.pids_limit) = (Some(3), Some(100));
        (busy.read_bytes, busy.written_bytes) = (Some(0), Some(1_300_000));
        let expected = "\
ID    CPU    OF LIMIT  MEMORY / LIMIT  OF LIMIT  PIDS / LIMIT  READ / WRITTEN  PSI MEMORY  \
PSI CPU  PSI IO
busy  19.8%  99.2%     48MiB / 64MiB   75.0%     3 / 100       0B / 1.2MiB     -           \
-        -
idle  -      -         - / -           -         - / -         - / -           -           \
-        -
";
        assert_eq!(render(&[busy, usage("idle")], Page::default()), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_fewer_columns_and_shorter_ids() {
        let id = "f".repeat(64);
        let page = |width| Page { width: Some(width), colours: false };
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        for width in [1, 9, 40, 80, 132] {
            let text = render(&[usage(&id)], page(width));
            assert!(widest(&text) <= Some(width), "{width}:\n{text}");
        }
        let text = render(&[usage(&id)], page(80));
        assert!(text.contains("fff…  -") && text.contains("PIDS / LIMIT"), "{text}");
        assert!(render(&[usage(&id)], Page::default()).contains(&id));
    }
}
