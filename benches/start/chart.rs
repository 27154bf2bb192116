//! The chart of the README, as SVG.

use std::fmt::Write;

use crate::report::Spread;

/// Bars of one kind of work, in milliseconds.
pub struct Group {
    pub title: String,
    pub bars: Vec<(&'static str, Spread)>,
}

const WIDTH: f64 = 760.0;
/// Where bars begin, and how much of the width is left for the value of the longest.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 14.0;
const STEP: f64 = 20.0;
/// Of a group's title, and between groups.
const TITLE: f64 = 24.0;
const GAP: f64 = 12.0;

// Greys and colours that can be read on white and on the dark theme's near-black: an image
// doesn't learn which theme the page around it has.
const TEXT: &str = "#7d8590";
const SPREAD: &str = "#57606a";
const OTHERS: &str = "#8c959f";
const FLOOR: &str = "#b08800";
const MINIRUN: &str = "#2f81f7";

/// One below the other, all on one scale, with the middle half of the values as a line.
pub fn draw(groups: &[Group]) -> String {
    let bars = groups.iter().flat_map(|group| &group.bars);
    let most = bars.map(|(_, spread)| spread.high).fold(0.0, f64::max).max(1e-9);
    let x = |value: f64| LEFT + value / most * (WIDTH - LEFT - RIGHT);
    let mut body = String::new();
    let mut y = 0.0;
    for Group { title, bars } in groups {
        let _ = writeln!(
            body,
            r#"<text x="0" y="{:.0}" font-weight="bold">{}</text>"#,
            y + 15.0,
            escape(title)
        );
        y += TITLE;
        for (name, Spread { low, median, high }) in bars {
            let colour = match *name {
                "minirun" => MINIRUN,
                "floor" => FLOOR,
                _ => OTHERS,
            };
            let (middle, width) = (y + BAR / 2.0, x(*median) - LEFT);
            let (text, from, to) = (y + BAR - 3.0, x(*low), x(*high));
            let label = x(high.max(*median)) + 6.0;
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{text:.1}" text-anchor="end">{}</text>
<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" rx="2" fill="{colour}"/>
<path d="M{from:.1} {middle}H{to:.1}" stroke="{SPREAD}" stroke-width="2"/>
<text x="{label:.1}" y="{text:.1}">{median:.1} ms</text>"#,
                LEFT - 8.0,
                escape(name)
            );
            y += STEP;
        }
        y += GAP;
    }
    let height = y - GAP;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="{TEXT}">
{body}</svg>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
