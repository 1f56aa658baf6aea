//! Docker's filters of images: `--filter KEY=VALUE`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use glob::{MatchOptions, Pattern};
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{ImageSummary, Store};

/// What an image has to be. Filters of different kinds, and labels, must all hold; of several `reference`s one.
#[derive(Debug, Default)]
pub struct ImageFilter {
    dangling: Option<bool>,
    labels: Vec<Label>,
    before: Option<SystemTime>,
    since: Option<SystemTime>,
    references: Vec<Pattern>,
}

/// `NAME`, or `NAME=VALUE`.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    name: String,
    value: Option<String>,
}

impl Label {
    pub fn parse(text: &str) -> Label {
        match text.split_once('=') {
            Some((name, value)) => Label { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Label { name: text.to_owned(), value: None },
        }
    }

    pub fn matches(&self, image: &ImageSummary) -> bool {
        self.is_in(&image.labels)
    }

    pub fn is_in(&self, labels: &BTreeMap<String, String>) -> bool {
        match (labels.get(&self.name), &self.value) {
            (Some(label), Some(value)) => label == value,
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        }
    }
}

/// Splits `KEY=VALUE`.
pub fn split(filter: &str) -> Result<(&str, &str)> {
    filter.split_once('=').with_context(|| format!("--filter takes KEY=VALUE, not '{filter}'"))
}

impl ImageFilter {
    /// Understands filters; images they name are looked up in `store`.
    pub fn parse(store: &Store, filters: &[String]) -> Result<ImageFilter> {
        let mut parsed = ImageFilter::default();
        for filter in filters {
            let (key, value) = split(filter)?;
            let created = || -> Result<SystemTime> {
                let image = store.resolve(value)?;
                image.created().with_context(|| format!("it is not known when {value} was made"))
            };
            match key {
                "dangling" => parsed.dangling = Some(truth(value)?),
                "label" => parsed.labels.push(Label::parse(value)),
                "before" => parsed.before = Some(earlier(parsed.before, created()?)),
                "since" => parsed.since = Some(later(parsed.since, created()?)),
                "reference" => parsed.reference(value)?,
                _ => bail!("'{key}' is no filter: there are dangling, label, before, since, reference"),
            }
        }
        Ok(parsed)
    }

    /// Wants a name of this pattern, with or without a tag.
    pub fn reference(&mut self, pattern: &str) -> Result<()> {
        let compiled = Pattern::new(pattern);
        self.references.push(compiled.with_context(|| format!("'{pattern}' is no pattern of names"))?);
        Ok(())
    }

    pub fn matches(&self, image: &ImageSummary) -> bool {
        self.dangling.is_none_or(|dangling| dangling == image.reference.is_none())
            && self.labels.iter().all(|label| label.matches(image))
            && self.before.is_none_or(|before| image.created.is_some_and(|created| created < before))
            && self.since.is_none_or(|since| image.created.is_some_and(|created| created > since))
            && (self.references.is_empty()
                || image.reference.as_ref().is_some_and(|reference| self.is_called(reference)))
    }

    /// The familiar name and the full one, each with tag and without.
    fn is_called(&self, reference: &Reference) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        let full_name = format!("{}/{}", reference.registry(), reference.repository());
        let names = [reference.to_string(), reference.familiar_name(), reference.full(), full_name];
        self.references.iter().any(|pattern| names.iter().any(|name| pattern.matches_with(name, options)))
    }
}

fn truth(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" => Ok(false),
        _ => bail!("'{value}' is neither true nor false"),
    }
}

fn earlier(known: Option<SystemTime>, time: SystemTime) -> SystemTime {
    known.map_or(time, |known| known.min(time))
}

fn later(known: Option<SystemTime>, time: SystemTime) -> SystemTime {
    known.map_or(time, |known| known.max(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_listed(pattern: &str, name: &str) -> bool {
        let mut filter = ImageFilter::default();
        filter.reference(pattern).unwrap();
        filter.is_called(&name.parse().unwrap())
    }

    #[test]
    fn patterns_match_names_as_dockers_do() {
        for (pattern, name) in [
            ("busybox", "busybox:1"),
            ("busybox:1", "busybox:1"),
            ("busy*:*", "busybox:1"),
            ("b?sybox", "busybox"),
            ("[ab]usybox", "busybox"),
            ("docker.io/library/busybox", "busybox"),
            ("quay.io/*/app", "quay.io/team/app:2"),
        ] {
            assert!(is_listed(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("busy", "busybox"), ("*", "team/app"), ("*box:2", "busybox:1"), ("app", "team/app")]
        {
            assert!(!is_listed(pattern, name), "{pattern} {name}");
        }
        assert!(ImageFilter::default().reference("[a").is_err());
    }
}
