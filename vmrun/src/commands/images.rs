//! `vmrun images`: what the store holds.

use anyhow::Result;
use rootfs_builder::image::format_time;
use rootfs_builder::store::ImageSummary;

use crate::age::age;
use crate::arguments::{Format, ImagesArguments};
use crate::filter::ImageFilter;
use crate::home::Home;
use crate::output::{say, table};
use crate::size;

pub fn images(home: &Home, arguments: &ImagesArguments) -> Result<u8> {
    let store = home.images()?;
    let mut filter = ImageFilter::parse(&store, &arguments.filter)?;
    if let Some(name) = &arguments.name {
        filter.reference(name)?;
    }
    let mut images = store.images()?;
    images.retain(|image| filter.matches(image));

    let id = |image: &ImageSummary| if arguments.no_trunc { image.id.to_string() } else { image.id.short() };
    if arguments.quiet {
        images.iter().try_for_each(|image| say(id(image)))?;
    } else if arguments.format == Format::Json {
        let list: Vec<_> = images.iter().map(json).collect();
        say(serde_json::to_string_pretty(&list)?)?;
    } else if arguments.digests {
        let row = |image: &ImageSummary| {
            let (repository, tag) = name(image);
            let digest = image.digest().to_string();
            [repository, tag, digest, id(image), age(image.created), size::show(image.size)]
        };
        let rows: Vec<_> = images.iter().map(row).collect();
        table(["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"], &rows)?;
    } else {
        let row = |image: &ImageSummary| {
            let (repository, tag) = name(image);
            [repository, tag, id(image), age(image.created), size::show(image.size)]
        };
        let rows: Vec<_> = images.iter().map(row).collect();
        table(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &rows)?;
    }
    Ok(0)
}

/// The repository, as people write it, and the tag.
pub fn name(image: &ImageSummary) -> (String, String) {
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
        "digest": image.digest().to_string(),
        "id": image.id.to_string(),
        "created": image.created.and_then(format_time),
        "size": image.size,
        "labels": image.labels,
    })
}
