//! Statistics, and the Markdown that tells them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::contenders::Contender;
use crate::measure::{LANES, Series};
use crate::site::Site;

/// What is told in the end; notes are told at once as well.
pub struct Report {
    facts: Vec<String>,
    tables: String,
    ours_failed: bool,
}

impl Report {
    pub fn new(site: &Site) -> Self {
        let mut report = Report { facts: Vec::new(), tables: String::new(), ours_failed: false };
        for fact in &site.facts {
            report.note(fact.clone());
        }
        report
    }

    pub fn note(&mut self, note: String) {
        if !self.facts.contains(&note) {
            eprintln!("{note}");
            self.facts.push(note);
        }
    }

    /// A contender failed and is out.
    pub fn broken(&mut self, contender: &Contender, failure: &str) {
        self.ours_failed |= contender.program.is_ours();
        self.note(format!("**{} failed**: {failure}", contender.name));
    }

    pub fn ours_failed(&self) -> bool {
        self.ours_failed
    }

    /// A table of start-up times.
    pub fn times(&mut self, title: &str, all: &[Series]) {
        let (floor, minirun) = (values_of(all, "floor"), values_of(all, "minirun"));
        self.table(title, &["", "median ms", "quartiles", "÷ floor", "minirun ÷ it", "quartiles"]);
        for series in all {
            let times = Spread::of(series.values.clone());
            let over_floor = floor.map(|floor| Spread::of_ratios(&series.values, floor));
            let minirun = minirun
                .filter(|_| series.contender.name != "minirun")
                .map(|minirun| Spread::of_ratios(minirun, &series.values));
            self.row(&[
                series.contender.name.to_owned(),
                format!("{:.2}", times.median),
                times.quartiles(),
                over_floor.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
                minirun.as_ref().map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)),
                minirun.map_or_else(String::new, |ratio| ratio.quartiles()),
            ]);
        }
    }

    /// A table of starts per second.
    pub fn throughput(
        &mut self,
        title: &str,
        starts: usize,
        in_turn: &[Series],
        at_once: &[Series],
    ) {
        let title = format!("{title}, starts per second, {starts} starts");
        let at_once_title = format!("{LANES} at once");
        self.table(&title, &["", "one by one", "minirun ÷ it", &at_once_title, "minirun ÷ it"]);
        for series in in_turn {
            let mut row = vec![series.contender.name.to_owned()];
            for all in [in_turn, at_once] {
                let own = values_of(all, series.contender.name);
                let minirun =
                    values_of(all, "minirun").filter(|_| series.contender.name != "minirun");
                row.push(own.map_or_else(String::new, |own| {
                    format!("{:.0}", Spread::of(own.to_vec()).median)
                }));
                row.push(minirun.zip(own).map_or_else(String::new, |(minirun, own)| {
                    format!("{:.2}", Spread::of_ratios(minirun, own).median)
                }));
            }
            self.row(&row);
        }
    }

    /// A table of the smallest memory limits that containers start with, in bytes.
    pub fn memory(&mut self, found: &[(&str, u64)]) {
        self.table("Smallest memory limit that /bin/true starts with", &["", "KiB"]);
        for (name, bytes) in found {
            self.row(&[(*name).to_owned(), (bytes >> 10).to_string()]);
        }
    }

    fn table(&mut self, title: &str, columns: &[&str]) {
        let _ = write!(self.tables, "\n## {title}\n\n");
        self.row(columns);
        let _ = writeln!(self.tables, "|---|{}", "--:|".repeat(columns.len() - 1));
    }

    fn row(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            let _ = write!(self.tables, "| {} ", cell.as_ref());
        }
        self.tables.push_str("|\n");
    }

    /// To standard output and to a file.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = "# Starting /bin/true in a container\n\n\
            Ratios are medians of the ratios within each round. Below 1, minirun takes less \
            time; above 1, it starts more containers per second.\n\n"
            .to_owned();
        for fact in &self.facts {
            let _ = writeln!(text, "- {}", fact.replace('\n', "\n  "));
        }
        text.push_str(&self.tables);
        print!("{text}");
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()).into())
    }
}

fn values_of<'a>(all: &'a [Series], name: &str) -> Option<&'a [f64]> {
    all.iter().find(|series| series.contender.name == name).map(|series| series.values.as_slice())
}

/// Where the middle half of some values lies.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * values.len().saturating_sub(1) as f64;
            let value = |place: f64| values.get(place as usize).copied().unwrap_or(f64::NAN);
            let (below, above) = (value(place.floor()), value(place.ceil()));
            below + (above - below) * place.fract()
        };
        Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
    }

    /// Ratios within each round: slow spells of the machine cancel out.
    fn of_ratios(above: &[f64], below: &[f64]) -> Self {
        Spread::of(above.iter().zip(below).map(|(above, below)| above / below).collect())
    }

    fn quartiles(&self) -> String {
        format!("{:.2} to {:.2}", self.low, self.high)
    }
}
