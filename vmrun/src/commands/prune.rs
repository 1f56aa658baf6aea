//! `vmrun prune`: room on the disk.

use std::time::SystemTime;

use anyhow::{Result, bail};
use rootfs_builder::store::ImageSummary;

use super::agreed;
use crate::age::moment;
use crate::arguments::PruneArguments;
use crate::filter::{Label, split};
use crate::home::Home;
use crate::machine::Machines;
use crate::output::{say, warn};
use crate::size;

pub fn prune(home: &Home, arguments: &PruneArguments) -> Result<u8> {
    let filter = Filter::parse(&arguments.filter)?;
    let what =
        if arguments.all { "every image that no machine is made of" } else { "every image without a name" };
    if !arguments.force && !agreed(&format!("This removes {what}, and what killed commands left."))? {
        return Ok(0);
    }
    let needed = Machines::open(home).images()?;
    let pruned = home
        .images()?
        .prune(arguments.all, &|image| filter.matches(image) && !needed.contains(&image.id.to_string()))?;
    pruned.untagged.iter().try_for_each(|name| say(format_args!("Untagged: {name}")))?;
    pruned.deleted.iter().try_for_each(|id| say(format_args!("Deleted: {id}")))?;
    if pruned.deferred {
        warn("vmrun: something is being added just now: files are removed when that is done");
    }
    say(format_args!("Total reclaimed space: {}", size::show(pruned.reclaimed)))?;
    Ok(0)
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
