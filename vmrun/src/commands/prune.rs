//! `vmrun prune`: room on the disk.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rootfs_builder::image::parse_time;
use rootfs_builder::store::ImageSummary;

use crate::arguments::PruneArguments;
use crate::filter::{Label, split};
use crate::home::Home;
use crate::output::warn;
use crate::size;

pub fn prune(home: &Home, arguments: &PruneArguments) -> Result<u8> {
    let filter = Filter::parse(&arguments.filter)?;
    if !arguments.force && !agreed(arguments.all)? {
        return Ok(0);
    }
    let pruned = home.images()?.prune(arguments.all, &|image| filter.matches(image))?;
    pruned.untagged.iter().for_each(|name| println!("Untagged: {name}"));
    pruned.deleted.iter().for_each(|id| println!("Deleted: {id}"));
    if pruned.deferred {
        warn("vmrun: something is being added just now: files are removed when that is done");
    }
    println!("Total reclaimed space: {}", size::show(pruned.reclaimed));
    Ok(0)
}

fn agreed(all: bool) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say -f to remove without a question");
    }
    let what = if all { "every image that no machine runs on" } else { "every image without a name" };
    print!("This removes {what}, and what killed commands left. Go on? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[derive(Debug, Default)]
struct Filter {
    until: Option<SystemTime>,
    labels: Vec<Label>,
    no_labels: Vec<Label>,
}

impl Filter {
    fn parse(filters: &[String]) -> Result<Filter> {
        let mut parsed = Filter::default();
        for filter in filters {
            match split(filter)? {
                ("until", time) => parsed.until = Some(moment(time)?),
                ("label", label) => parsed.labels.push(Label::parse(label)),
                ("label!", label) => parsed.no_labels.push(Label::parse(label)),
                (key, _) => bail!("'{key}' is no filter of prune: there are until, label, label!"),
            }
        }
        Ok(parsed)
    }

    fn matches(&self, image: &ImageSummary) -> bool {
        self.until.is_none_or(|until| image.created.is_some_and(|created| created < until))
            && self.labels.iter().all(|label| label.matches(image))
            && !self.no_labels.iter().any(|label| label.matches(image))
    }
}

/// A time (RFC 3339, a date, seconds since 1970), or an age such as `1h30m`.
fn moment(text: &str) -> Result<SystemTime> {
    let since_epoch = || Some(SystemTime::UNIX_EPOCH + Duration::from_secs(text.parse().ok()?));
    let ago = || SystemTime::now().checked_sub(age(text)?);
    parse_time(text)
        .or_else(|| parse_time(&format!("{text}T00:00:00Z")))
        .or_else(|| parse_time(&format!("{text}Z")))
        .or_else(since_epoch)
        .or_else(ago)
        .with_context(|| format!("'{text}' is neither a time (2026-01-31T12:00:00Z) nor an age (24h)"))
}

/// Go's durations: numbers with the units h, m and s.
fn age(text: &str) -> Option<Duration> {
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u64 = rest[..unit_at].parse().ok()?;
        let unit = match rest.as_bytes()[unit_at] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_at + 1..];
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_and_ages() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for text in ["1970-01-02T00:00:00Z", "1970-01-02T00:00:00", "1970-01-02", "86400"] {
            assert_eq!(moment(text).unwrap(), at(86_400), "{text}");
        }
        assert_eq!(age("1h30m5s"), Some(Duration::from_secs(5405)));
        let passed = moment("24h").unwrap().elapsed().unwrap();
        assert!((86_400..86_460).contains(&passed.as_secs()), "{passed:?}");
        for bad in ["", "h", "1d", "yesterday", "99999999999999999999h", "9999999999999999h", "-1h"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
