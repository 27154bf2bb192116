//! The smallest memory limit that a container starts with, found by halving.

use crate::contenders::Contender;
use crate::measure::works;
use crate::report::Report;
use crate::site::Site;
use crate::work::Outcome;
use crate::{Result, present};

/// The kernel counts whole pages.
const PAGE: u64 = 4096;
/// Whoever needs more is told to fail.
const MOST: u64 = 64 << 20;

/// Measures all that are here, and tells.
///
/// # Errors
/// When the user interrupts, or a bundle can't be written.
pub fn compare(contenders: &'static [Contender], site: &Site, report: &mut Report) -> Result<()> {
    let mut found = Vec::new();
    for contender in present(contenders, report) {
        eprintln!("smallest memory limit of {}", contender.name);
        match smallest(site, contender)? {
            Ok(bytes) => found.push((contender.name, bytes)),
            Err(failure) => report.broken(contender, &failure),
        }
    }
    report.memory(&found);
    Ok(())
}

fn smallest(site: &Site, contender: &Contender) -> Result<Outcome<u64>> {
    let attempt = |bytes: u64| {
        site.limit_memory(bytes)?;
        works(site, contender)
    };
    if let Err(failure) = attempt(MOST)? {
        return Ok(Err(failure));
    }
    let (mut too_little, mut enough) = (0, MOST);
    while enough - too_little > PAGE {
        let middle = (too_little + enough) / 2 / PAGE * PAGE;
        match attempt(middle)? {
            Ok(()) => enough = middle,
            Err(_) => too_little = middle,
        }
    }
    Ok(Ok(enough))
}
