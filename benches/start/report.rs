//! Statistics, and the Markdown that tells them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::chart::{self, Group};
use crate::contenders::Contender;
use crate::measure::{LANES, Series};
use crate::site::Site;
use crate::workloads::Goal;

/// What is told in the end; notes are told at once as well.
#[derive(Default)]
pub struct Report {
    facts: Vec<String>,
    /// Rows of the table of goals.
    goals: Vec<[String; 4]>,
    groups: Vec<Group>,
    tables: String,
    failed: bool,
}

/// Contenders that the chart has.
const DRAWN: &[&str] = &["floor", "minirun", "bubblewrap", "crun", "runc"];

impl Report {
    pub fn new(site: &Site) -> Self {
        let mut report = Report::default();
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
        self.failed |= contender.program.is_ours();
        self.note(format!("**{} failed**: {failure}", contender.name));
    }

    /// Something is wrong with what is ours.
    pub fn fail(&mut self, failure: String) {
        self.failed = true;
        self.note(format!("**failed**: {failure}"));
    }

    pub fn failed(&self) -> bool {
        self.failed
    }

    /// A table of what was measured.
    pub fn values(&mut self, title: &str, unit: &str, all: &[Series]) {
        let (floor, minirun) = (values_of(all, "floor"), values_of(all, "minirun"));
        let median = format!("median {unit}");
        self.table(title, &["", &median, "quartiles", "÷ floor", "minirun ÷ it", "quartiles"]);
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

    /// Bars of those that everybody knows.
    pub fn draw(&mut self, title: &str, all: &[Series]) {
        let drawn = all.iter().filter(|series| DRAWN.contains(&series.contender.name));
        let bars = drawn.map(|series| (series.contender.name, Spread::of(series.values.clone())));
        self.groups.push(Group { title: title.to_owned(), bars: bars.collect() });
    }

    /// Which goals are met, as far as they are about these values.
    pub fn goals(&mut self, title: &str, unit: &str, all: &[Series], goals: &[Goal]) {
        let of = |name| values_of(all, name).ok_or(name);
        let median = |name| of(name).map(|values| Spread::of(values.to_vec()).median);
        for goal in goals {
            let (what, measured, most, unit) = match *goal {
                Goal::Ratio(one, other, most) => {
                    let pair = of(one).and_then(|one| Ok((one, of(other)?)));
                    let ratio = pair.map(|(one, other)| Spread::of_ratios(one, other).median);
                    (format!("{one} ÷ {other}"), ratio, most, "")
                }
                Goal::Difference(one, other, most) => {
                    let pair = median(one).and_then(|one| Ok((one, median(other)?)));
                    let less = pair.map(|(one, other)| one - other);
                    (format!("{one} less {other}"), less, most, unit)
                }
                Goal::Value(one, most) => (one.to_owned(), median(one), most, unit),
                Goal::Throughput(..) => continue,
            };
            self.goal(title, &what, measured, most, false, unit);
        }
    }

    /// Which goals of starts per second are met.
    pub fn throughput_goals(&mut self, title: &str, all: &[Series], goals: &[Goal]) {
        for goal in goals {
            let &Goal::Throughput(one, other, least) = goal else { continue };
            let of = |name| values_of(all, name).ok_or(name);
            let pair = of(one).and_then(|one| Ok((one, of(other)?)));
            let ratio = pair.map(|(one, other)| Spread::of_ratios(one, other).median);
            self.goal(title, &format!("{one} ÷ {other}"), ratio, least, true, "");
        }
    }

    /// Whether a value, or a word for why there is none, is within its bound.
    pub fn goal(
        &mut self,
        title: &str,
        what: &str,
        measured: std::result::Result<f64, &str>,
        bound: f64,
        is_least: bool,
        unit: &str,
    ) {
        let words = if is_least { "at least" } else { "at most" };
        let (measured, verdict) = match measured {
            Ok(value) => {
                let rounded = (value * 100.0).round() / 100.0;
                let met = if is_least { rounded >= bound } else { rounded <= bound };
                (format!("{value:.2}"), if met { "met" } else { "**not met**" })
            }
            Err(name) => (format!("{name} wasn't measured"), ""),
        };
        self.goals.push([
            format!("{title}: {what}"),
            measured,
            format!("{words} {bound} {unit}").trim_end().to_owned(),
            verdict.to_owned(),
        ]);
    }

    /// A table of what was counted, and the limits.
    pub fn counts(&mut self, rows: &[(&str, &str, u64, u64)]) {
        self.table("Counted", &["", "", "counted", "limit"]);
        for (case, what, counted, limit) in rows {
            let (counted, limit) = (counted.to_string(), limit.to_string());
            self.row(&[case, what, counted.as_str(), limit.as_str()]);
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

    /// To standard output, and to files in a directory.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write(mut self, dir: &Path) -> Result<()> {
        let tables = std::mem::take(&mut self.tables);
        if !self.goals.is_empty() {
            self.table("Goals", &["", "measured", "goal", ""]);
        }
        for goal in std::mem::take(&mut self.goals) {
            self.row(&goal);
        }
        let mut text = "# Containers that run /bin/true\n\n\
            Ratios are medians of the ratios within each round. Below 1, minirun takes less \
            time; above 1, it starts more containers per second.\n\n"
            .to_owned();
        for fact in &self.facts {
            let _ = writeln!(text, "- {}", fact.replace('\n', "\n  "));
        }
        text.push_str(&self.tables);
        text.push_str(&tables);
        print!("{text}");
        fs::create_dir_all(dir)?;
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|error| format!("write {}: {error}", path.display()))
        };
        write("start.md", text)?;
        if !self.groups.is_empty() {
            write("start.svg", chart::draw(&self.groups))?;
        }
        Ok(())
    }
}

fn values_of<'a>(all: &'a [Series], name: &str) -> Option<&'a [f64]> {
    all.iter().find(|series| series.contender.name == name).map(|series| series.values.as_slice())
}

/// Where the middle half of some values lies.
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
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
