//! `vmrun history`: an image's layers, what they cost and what they waste.

use anyhow::Result;
use rootfs_builder::image::format_time;
use rootfs_builder::store::HistoryEntry;
use serde_json::{Value, json};

use crate::age::age;
use crate::arguments::{Format, HistoryArguments};
use crate::home::Home;
use crate::output::{say, table};
use crate::size;

/// Characters of a command in the table, as many as Docker shows.
const SHOWN: usize = 45;

pub fn history(home: &Home, arguments: &HistoryArguments) -> Result<u8> {
    let store = home.images()?;
    let image = store.resolve(&arguments.image)?;
    let id = if arguments.no_trunc { image.id().to_string() } else { image.id().short() };
    let entries = store.history(&image)?;
    // Only the last step's image is one that can be named.
    let ids = std::iter::once(id).chain(std::iter::repeat("<missing>".to_owned()));

    if arguments.quiet {
        entries.iter().zip(ids).try_for_each(|(_, id)| say(id))?;
    } else if arguments.format == Format::Json {
        let list: Vec<Value> = entries.iter().zip(ids).map(|(entry, id)| as_json(entry, &id)).collect();
        say(serde_json::to_string_pretty(&list)?)?;
    } else {
        let rows: Vec<_> = entries.iter().zip(ids).map(|(entry, id)| row(entry, id, arguments)).collect();
        table(["IMAGE", "CREATED", "CREATED BY", "SIZE", "WASTED", "COMMENT"], &rows)?;
    }
    Ok(0)
}

fn row(entry: &HistoryEntry, id: String, arguments: &HistoryArguments) -> [String; 6] {
    let bytes = |bytes: u64| if arguments.human { size::show(bytes) } else { bytes.to_string() };
    let created = match arguments.human {
        true => age(entry.created),
        false => entry.created.and_then(format_time).unwrap_or_else(|| "N/A".into()),
    };
    let by = one_line(&entry.created_by);
    let by = match arguments.no_trunc || by.chars().count() <= SHOWN {
        true => by,
        false => by.chars().take(SHOWN - 1).chain(['…']).collect(),
    };
    let (size, wasted) = entry.layer.as_ref().map_or((0, 0), |layer| (layer.size, layer.wasted));
    [id, created, by, bytes(size), bytes(wasted), one_line(&entry.comment)]
}

/// Whoever made the image wrote it: no control character of it reaches the terminal.
fn one_line(text: &str) -> String {
    let clean: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    clean.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn as_json(entry: &HistoryEntry, id: &str) -> Value {
    let layer = entry.layer.as_ref();
    json!({
        "id": id,
        "created": entry.created.and_then(format_time),
        "created_by": entry.created_by,
        "comment": entry.comment,
        "diff_id": layer.map(|layer| layer.diff_id.to_string()),
        "blob": layer.map(|layer| layer.blob.to_string()),
        "blob_size": layer.map_or(0, |layer| layer.blob_size),
        "size": layer.map_or(0, |layer| layer.size),
        "wasted": layer.map_or(0, |layer| layer.wasted),
    })
}
