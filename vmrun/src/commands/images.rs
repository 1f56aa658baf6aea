//! `vmrun images`: what the store holds.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use rootfs_builder::image::format_time;
use rootfs_builder::store::ImageSummary;

use crate::arguments::{Format, ImagesArguments};
use crate::home::Home;
use crate::output::table;
use crate::size;

pub fn images(home: &Home, arguments: &ImagesArguments) -> Result<u8> {
    let images = home.images()?.images()?;
    let id = |image: &ImageSummary| if arguments.no_trunc { image.id.to_string() } else { image.id.short() };
    if arguments.quiet {
        images.iter().for_each(|image| println!("{}", id(image)));
    } else if arguments.format == Format::Json {
        let list: Vec<_> = images.iter().map(json).collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        let rows: Vec<[String; 5]> = images
            .iter()
            .map(|image| {
                let (repository, tag) = name(image);
                [repository, tag, id(image), age(image.created), size::show(image.size)]
            })
            .collect();
        table(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &rows)?;
    }
    Ok(0)
}

/// The repository, as people write it, and the tag.
fn name(image: &ImageSummary) -> (String, String) {
    let none = || "<none>".to_owned();
    match &image.reference {
        Some(reference) => (reference.familiar_name(), reference.tag().map_or_else(none, str::to_owned)),
        None => (none(), none()),
    }
}

fn json(image: &ImageSummary) -> serde_json::Value {
    let (repository, tag) = name(image);
    serde_json::json!({
        "repository": repository,
        "tag": tag,
        "id": image.id.to_string(),
        "created": image.created.and_then(format_time),
        "size": image.size,
    })
}

/// How long ago something was made, as Docker says it.
fn age(created: Option<SystemTime>) -> String {
    let Some(created) = created else { return "N/A".into() };
    let Ok(age) = SystemTime::now().duration_since(created) else { return "in the future".into() };
    words(age)
}

fn words(age: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ if seconds < 14 * DAY => (seconds / DAY, "day"),
        _ if seconds < 60 * DAY => (seconds / (7 * DAY), "week"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_the_largest_unit() {
        let said = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(said(1), "1 second ago");
        assert_eq!(said(7200), "2 hours ago");
        assert_eq!(said(86_400 * 20), "2 weeks ago");
        assert_eq!(said(86_400 * 800), "2 years ago");
    }
}
