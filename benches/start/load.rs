//! How much of the machine there was to measure with.

use std::fs;
use std::time::Duration;

/// Clock ticks of all processors since the machine started (proc_stat(5)).
#[derive(Clone, Copy)]
pub struct Ticks {
    all: f64,
    idle: f64,
    stolen: f64,
}

impl Ticks {
    pub fn read() -> Option<Ticks> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let numbers = text.lines().next()?.split_whitespace().skip(1).map(str::parse::<f64>);
        let numbers: Vec<_> = numbers.collect::<std::result::Result<_, _>>().ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, stolen] =
            numbers.first_chunk().copied()?;
        let busy = user + nice + system + irq + softirq + stolen;
        Some(Ticks { all: busy + idle + iowait, idle: idle + iowait, stolen })
    }

    /// How much of the time since then went where, in per cent.
    fn percent_since(self, then: Ticks, which: impl Fn(Ticks) -> f64) -> f64 {
        (which(self) - which(then)) / (self.all - then.all).max(1.0) * 100.0
    }

    /// What to say when other programs keep the machine busy, within a second from then.
    pub fn load(self) -> Option<String> {
        std::thread::sleep(Duration::from_secs(1));
        let busy = 100.0 - Ticks::read()?.percent_since(self, |ticks| ticks.idle);
        (busy > 10.0)
            .then(|| format!("**The machine is busy**: {busy:.0} % of it before anything was run"))
    }

    /// What to say when this machine, a virtual one, hasn't had its processors since then.
    pub fn theft(self) -> Option<String> {
        let stolen = Ticks::read()?.percent_since(self, |ticks| ticks.stolen);
        (stolen > 5.0).then(|| {
            format!(
                "**Its host gave the processors to others for {stolen:.0} % of the time** that \
                 all this took"
            )
        })
    }
}
