//! `vmrun import`: an image from a plain root file system tarball, as `FROM scratch`, `ADD` and `CMD` make one.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::error::Result;
use super::ingest::{Request, ingest};
use super::load::{Loaded, add_image, check_name};
use super::manifest::manifest_of;
use super::{Store, layers};
use crate::digest::Digest;
use crate::image::{ARCHITECTURE, OS, format_time};
use crate::progress::{LayerName, LayerOutcome, Progress};
use crate::reference::Reference;

/// How the imported image is to be run, and when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportConfig {
    pub cmd: Vec<String>,
    pub entrypoint: Vec<String>,
    /// `NAME=VALUE` each.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Now, if none. With the same time, the same tarball makes the same image.
    pub created: Option<SystemTime>,
}

impl Store {
    /// Makes an image of one layer: the tarball as it comes, compressed or not. Read once, to its end.
    pub fn import(
        &self,
        mut tarball: impl Read,
        name: &Reference,
        config: ImportConfig,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        check_name(Some(name))?;
        self.adding(|session| {
            let layer_name = LayerName { index: 0, label: name.to_string() };
            progress.layer_started(&layer_name, None);
            let what = "the tarball";
            let request = Request {
                what,
                expected: None,
                keep_blob: true,
                compress: false,
                build_layer: true,
                blob_matters: false,
                name: &layer_name,
                progress,
            };
            let layer = ingest(session, &mut tarball, &request)
                .and_then(|ingested| layers::add(session, ingested, None, what));
            let outcome = if layer.is_ok() { LayerOutcome::Built } else { LayerOutcome::Failed };
            progress.layer_finished(&layer_name, outcome);

            let layer = layer?;
            let config = configuration(&config, &layer.diff_id).to_string().into_bytes();
            let image = manifest_of(config, std::slice::from_ref(&layer), vec![name.clone()], Vec::new())?;
            let warnings = layer.warnings.clone();
            let mut loaded = add_image(session, image, warnings, None)?;
            Ok(loaded.swap_remove(0))
        })
    }
}

/// The image's configuration (OCI image-spec, config.md), keys sorted.
fn configuration(config: &ImportConfig, diff_id: &Digest) -> Value {
    let mut run = Map::new();
    let mut set = |key: &str, value: Value, empty: bool| {
        if !empty {
            run.insert(key.to_owned(), value);
        }
    };
    set("Cmd", json!(config.cmd), config.cmd.is_empty());
    set("Entrypoint", json!(config.entrypoint), config.entrypoint.is_empty());
    set("Env", json!(config.env), config.env.is_empty());
    set("WorkingDir", json!(config.workdir), config.workdir.is_none());
    set("User", json!(config.user), config.user.is_none());
    set("Labels", json!(config.labels), config.labels.is_empty());
    let created = format_time(config.created.unwrap_or_else(SystemTime::now));
    json!({
        "architecture": ARCHITECTURE,
        "os": OS,
        "created": created,
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": created, "created_by": "vmrun import" }],
    })
}
