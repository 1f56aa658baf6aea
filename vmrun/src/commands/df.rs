//! `vmrun df`: where the disk went.

use anyhow::Result;
use rootfs_builder::image::format_time;
use rootfs_builder::reference::Reference;
use rootfs_builder::store::{ImageUsage, Kind, KindUsage, Usage};
use serde_json::{Value, json};

use crate::age::age;
use crate::arguments::{DfArguments, Format};
use crate::home::Home;
use crate::machine::Machines;
use crate::output::{complain, say, table};
use crate::size;

const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::LayerData, "Layers", "layers"),
    (Kind::EntryTable, "Entry tables", "entry_tables"),
    (Kind::Metadata, "Metadata", "metadata"),
    (Kind::Blob, "Blobs", "blobs"),
];

pub fn df(home: &Home, arguments: &DfArguments) -> Result<u8> {
    let needed = Machines::open(home).images()?;
    let usage = home.images()?.usage(&|id| needed.contains(&id.to_string()))?;
    let kernels = Kernels::of(home)?;
    if arguments.format == Format::Json {
        say(serde_json::to_string_pretty(&as_json(&usage, &kernels))?)?;
        return Ok(0);
    }
    let rows: Vec<_> = usage.images.iter().map(image).collect();
    table(["IMAGE", "IMAGE ID", "CREATED", "SIZE", "SHARED", "UNIQUE", "IN USE"], &rows)?;
    if arguments.verbose {
        say("")?;
        let rows: Vec<_> = usage
            .layers
            .iter()
            .map(|(diff_id, layer)| {
                let sizes = [layer.data, layer.entries].map(size::show);
                let [data, entries] = sizes;
                [diff_id.short(), data, entries, layer.images.to_string()]
            })
            .collect();
        table(["LAYER", "DATA", "ENTRY TABLE", "IMAGES"], &rows)?;
    }
    say("")?;
    table(["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"], &totals(&usage, &kernels))?;
    Ok(0)
}

/// What all kernels take, with the disks of their modules.
struct Kernels {
    count: usize,
    size: u64,
}

impl Kernels {
    fn of(home: &Home) -> Result<Kernels> {
        let store = home.kernels()?;
        let list = store.list(&mut |error| complain(&error.into()))?;
        let mut size = 0;
        for kernel in &list {
            size += store.allocated(kernel)?;
        }
        Ok(Kernels { count: list.len(), size })
    }
}

fn image(image: &ImageUsage) -> [String; 7] {
    let names: Vec<String> = image.names.iter().map(short).collect();
    [
        if names.is_empty() { "<none>".into() } else { names.join(", ") },
        image.id.short(),
        age(image.created),
        size::show(image.size),
        size::show(image.shared),
        size::show(image.unique()),
        if image.in_use { "yes".into() } else { String::new() },
    ]
}

/// A digest is long, and nobody reads it here.
fn short(name: &Reference) -> String {
    match (name.tag(), name.digest()) {
        (None, Some(digest)) => format!("{}@{}", name.familiar_name(), digest.short()),
        _ => name.to_string(),
    }
}

fn totals(usage: &Usage, kernels: &Kernels) -> Vec<[String; 5]> {
    let row = |name: &str, total: &KindUsage| {
        let share = (total.reclaimable * 100).checked_div(total.size).unwrap_or(0);
        let reclaimable = format!("{} ({share}%)", size::show(total.reclaimable));
        let [count, active] = [total.count, total.active].map(|number| number.to_string());
        [name.to_owned(), count, active, size::show(total.size), reclaimable]
    };
    let mut sum = KindUsage::default();
    let mut rows = Vec::new();
    for (kind, name, _) in KINDS {
        let total = usage.kinds.get(&kind).copied().unwrap_or_default();
        sum.count += total.count;
        sum.active += total.active;
        sum.size += total.size;
        sum.reclaimable += total.reclaimable;
        rows.push(row(name, &total));
    }
    rows.push(row("All", &sum));
    let empty = String::new;
    if kernels.count > 0 {
        rows.push(["Kernels".into(), kernels.count.to_string(), empty(), size::show(kernels.size), empty()]);
    }
    if usage.unfinished > 0 {
        rows.push(["Unfinished".into(), empty(), empty(), size::show(usage.unfinished), empty()]);
    }
    rows
}

fn as_json(usage: &Usage, kernels: &Kernels) -> Value {
    let image = |image: &ImageUsage| {
        json!({
            "id": image.id.to_string(),
            "names": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "created": image.created.and_then(format_time),
            "in_use": image.in_use,
            "size": image.size,
            "shared": image.shared,
            "unique": image.unique(),
        })
    };
    let layers = usage.layers.iter().map(|(diff_id, layer)| {
        json!({
            "diff_id": diff_id.to_string(),
            "data": layer.data,
            "entries": layer.entries,
            "images": layer.images,
        })
    });
    let mut totals = json!({
        "unfinished": usage.unfinished,
        "kernels": { "count": kernels.count, "size": kernels.size },
    });
    for (kind, _, key) in KINDS {
        let total = usage.kinds.get(&kind).copied().unwrap_or_default();
        totals[key] = json!({
            "count": total.count,
            "active": total.active,
            "size": total.size,
            "reclaimable": total.reclaimable,
        });
    }
    json!({
        "images": usage.images.iter().map(image).collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
        "totals": totals,
    })
}
