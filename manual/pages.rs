//! Manual pages: minirun(1) and one a verb, minirun-run(1) and so on.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Every page, with its place below share/.
pub fn all(definition: &Command) -> io::Result<Vec<(String, String)>> {
    let verbs: Vec<&Command> = definition.get_subcommands().collect();
    let names = verbs.iter().map(|verb| format!("minirun-{}(1)", verb.get_name()));
    let mut pages = vec![page(definition, "minirun", &names.collect::<Vec<_>>())?];
    for verb in verbs {
        let name = format!("minirun-{}", verb.get_name());
        pages.push(page(verb, &name, &["minirun(1)".to_owned()])?);
    }
    Ok(pages)
}

fn page(command: &Command, name: &str, see_also: &[String]) -> io::Result<(String, String)> {
    let usage = command.clone().render_usage().to_string();
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone().after_help(None::<&str>).display_name(name.to_owned()))
        .title(name.to_uppercase())
        .source(concat!("minirun ", env!("CARGO_PKG_VERSION")))
        .manual("minirun");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    // Each way to call it, rather than all options of all ways in one line.
    let usage = usage.lines().map(|line| line.trim_start_matches("Usage:").trim());
    as_it_stands("SYNOPSIS", usage, &mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let (notes, examples) = notes.split_once("Examples:\n").unwrap_or((&notes, ""));
    for (title, lines) in [("NOTES", notes), ("EXAMPLES", examples)] {
        if !lines.trim().is_empty() {
            as_it_stands(title, lines.trim_end().lines(), &mut text)?;
        }
    }
    let mut end = Roff::new();
    end.control("SH", ["EXIT STATUS"]).text([roman(STATUS)]);
    end.control("SH", ["SEE ALSO"]).text([bold(see_also.join(", "))]);
    end.to_writer(&mut text)?;
    Ok((format!("man/man1/{name}.1"), String::from_utf8_lossy(&text).into_owned()))
}

const STATUS: &str = "run and exec exit with the command's own status, or 128+N when signal N \
killed it; run with 124 after a timeout, 127 when the command wasn't found, 126 when it couldn't \
be executed, 125 when minirun itself failed. exec fails with 255, the other verbs of an OCI \
runtime with 1, and minirun's own with 125.";

/// A section whose lines aren't filled.
fn as_it_stands<'a>(
    title: &str,
    lines: impl Iterator<Item = &'a str>,
    text: &mut Vec<u8>,
) -> io::Result<()> {
    let mut section = Roff::new();
    section.control("SH", [title]).control("nf", []);
    for line in lines {
        section.text([roman(line)]);
    }
    section.control("fi", []);
    section.to_writer(text)
}
