//! What is printed of the labs, in 80 columns: all of them, or those about something.

use crate::table::{LABS, Lab};

pub const HELP: &str = "\
Experiments in containers: each measures something and proves what it claims

Usage: minirun lab            list them by chapter
       minirun lab NAME       run one; its status is 0 if the claim holds
       minirun lab WORDS...   those that are about something
       minirun lab --names    their names, for programs

They need a root filesystem with busybox: the one that MINIRUN_ROOTFS names, else
./rootfs, else one that is made in ~/.cache/minirun/rootfs.
";

/// Where the text beside a name begins.
const INDENT: usize = 22;
const WIDTH: usize = 80;

/// Every lab, by chapter.
pub fn all() -> String {
    let mut text = String::from("Labs: experiments in containers that prove what they claim\n");
    text.push_str(&chapters(LABS.iter()));
    text.push_str("\nRun one: minirun lab NAME. Look for something: minirun lab WORD\n");
    text
}

pub fn names() -> String {
    LABS.iter().map(|lab| lab.name() + "\n").collect()
}

/// The labs about something.
///
/// # Errors
/// The answer when there is none.
pub fn about(words: &str) -> Result<String, String> {
    let found: Vec<&Lab> = LABS.iter().filter(|lab| speaks_of(lab, words)).collect();
    if !found.is_empty() {
        return Ok(format!("Labs about {words}:\n{}", chapters(found.into_iter())));
    }
    let names: Vec<String> = LABS.iter().map(Lab::name).collect();
    let wanted = words.replace([' ', '_'], "-").to_lowercase();
    Err(match minirun::similar::to(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("There is no lab {words}; did you mean minirun lab {name}?\n"),
        None => format!("There is no lab {words} and none about it; minirun lab lists all\n"),
    })
}

/// Whether each word is in what is printed of a lab.
fn speaks_of(lab: &Lab, words: &str) -> bool {
    let text = [lab.chapter, &lab.name(), lab.claim, lab.keywords].join(" ").to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

fn chapters<'a>(labs: impl Iterator<Item = &'a Lab>) -> String {
    let (mut text, mut chapter) = (String::new(), "");
    for lab in labs {
        if lab.chapter != chapter {
            chapter = lab.chapter;
            text.push_str(&format!("\n{chapter}\n"));
        }
        let mut lead = format!("  {:1$}", lab.name(), INDENT - 2);
        for line in [lab.claim, lab.keywords].into_iter().flat_map(lines) {
            text.push_str(&format!("{lead}{line}\n"));
            lead = " ".repeat(INDENT);
        }
    }
    text
}

/// A text in lines that end with the page.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if INDENT + line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
