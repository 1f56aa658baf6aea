//! `vmrun commit`: an image of another one's layers and one more.

use std::io::Read;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::content::Content;
use super::error::{Error, Result};
use super::images::Image;
use super::ingest::{Request, ingest};
use super::layers::Added;
use super::load::{Loaded, add_image, check_name};
use super::manifest::manifest_of;
use super::{Store, blobs, layers};
use crate::digest::Digest;
use crate::image::format_time;
use crate::instruction::Instruction;
use crate::progress::{LayerName, LayerOutcome, Progress};
use crate::reference::Reference;

/// What the new image says beside what its base says.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// How the machine was run.
    pub settings: Vec<Instruction>,
    /// Instructions as a Dockerfile has them, applied after those.
    pub changes: Vec<String>,
    pub author: Option<String>,
    pub message: Option<String>,
    /// What made the layer: for people.
    pub created_by: String,
    /// Now, if none.
    pub created: Option<SystemTime>,
}

/// A commit of which everything is known but its layer.
#[derive(Debug)]
pub struct PreparedCommit {
    base: Content,
    /// The configuration without the new layer's diff ID.
    config: Map<String, Value>,
}

impl Store {
    /// Everything that can be wrong before the layer is there.
    pub fn prepare_commit(&self, base: &Image, commit: &Commit) -> Result<PreparedCommit> {
        let base = self.content(base)?;
        for layer in &base.layers {
            if !blobs::path(self, &layer.blob).exists() {
                let what = format!("a layer of image {}", base.id.short());
                return Err(Error::MissingBlob { what, blob: layer.blob });
            }
        }
        let damaged = |reason: &str| Error::Damaged {
            path: blobs::path(self, &base.config.digest),
            reason: reason.to_owned(),
        };
        let mut config: Map<String, Value> =
            serde_json::from_slice(&base.config.bytes).map_err(|error| damaged(&error.to_string()))?;
        let mut run = match config.remove("config") {
            Some(Value::Object(run)) => run,
            _ => Map::new(),
        };
        Instruction::apply_all(&commit.settings, &commit.changes, &mut run).map_err(Error::Instruction)?;
        config.insert("config".into(), run.into());
        // Of the container that made the base.
        for gone in ["container", "container_config", "id", "parent"] {
            config.remove(gone);
        }
        let created = json!(format_time(commit.created.unwrap_or_else(SystemTime::now)));
        config.insert("created".into(), created.clone());
        match &commit.author {
            Some(author) => drop(config.insert("author".into(), json!(author))),
            None => drop(config.remove("author")),
        }
        let mut history = whole_history(&config, base.layers.len());
        let mut step = json!({ "created": created, "created_by": commit.created_by });
        for (key, value) in [("author", &commit.author), ("comment", &commit.message)] {
            if let Some(value) = value {
                step[key] = json!(value);
            }
        }
        history.push(step);
        config.insert("history".into(), history.into());
        Ok(PreparedCommit { base, config })
    }

    /// Makes the image: the base's layers as they are, and on top of them the tar that `layer` yields, which is
    /// read to its end. An error of it leaves nothing behind.
    pub fn commit(
        &self,
        prepared: PreparedCommit,
        mut layer: impl Read,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        check_name(name)?;
        let PreparedCommit { base, mut config } = prepared;
        self.adding(|session| {
            let what = "the machine's layer";
            let layer_name = LayerName { index: base.layers.len(), label: "new layer".into() };
            progress.layer_started(&layer_name, None);
            let request = Request {
                what,
                expected: None,
                keep_blob: true,
                compress: true,
                build_layer: true,
                blob_matters: false,
                name: &layer_name,
                progress,
            };
            let added = ingest(session, &mut layer, &request)
                .and_then(|ingested| layers::add(session, ingested, None, what));
            let outcome = if added.is_ok() { LayerOutcome::Built } else { LayerOutcome::Failed };
            progress.layer_finished(&layer_name, outcome);
            let added = added?;
            let warnings = added.warnings.clone();

            let known =
                |layer: &super::ContentLayer| Added::known(self, layer.blob, layer.size, layer.diff_id);
            let mut all = base.layers.iter().map(known).collect::<Result<Vec<_>>>()?;
            all.push(added);
            let diff_ids: Vec<Digest> = all.iter().map(|layer| layer.diff_id).collect();
            config.insert("rootfs".into(), json!({ "type": "layers", "diff_ids": diff_ids }));
            let config = Value::from(config).to_string().into_bytes();
            let names = name.cloned().into_iter().collect();
            let image = manifest_of(config, &all, names, Vec::new())?;
            let mut loaded = add_image(session, image, warnings, None)?;
            Ok(loaded.swap_remove(0))
        })
    }
}

/// The base's history, in which every layer has a step: other tools pair the two.
fn whole_history(config: &Map<String, Value>, layers: usize) -> Vec<Value> {
    let mut history = config.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let has_layer = |step: &&Value| step.get("empty_layer").and_then(Value::as_bool) != Some(true);
    let told = history.iter().filter(has_layer).count();
    history.extend((told..layers).map(|_| json!({ "created_by": "" })));
    history
}
