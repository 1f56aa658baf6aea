//! Removing what nobody refers to: images without an entry in the index, layers and blobs of no image.
//!
//! Only done when nobody is adding anything, because what is being added is referred to last. Images that a
//! machine runs on are kept, with their layers, whether they still have a name or not.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::error::{At, Result};
use super::names::Names;
use super::session::{Session, lock};
use super::{Store, blobs};
use crate::digest::Digest;
use crate::image::ImageId;

/// The file that says that there is something to remove, for when nobody is adding any more.
const WANTED: &str = "collect-wanted";

impl Store {
    pub(super) fn want_collect(&self) -> Result<()> {
        let path = self.lock_path(WANTED);
        File::create(&path).map(|_| ()).at("creating", &path)
    }

    pub(super) fn collect_wanted(&self) -> bool {
        self.lock_path(WANTED).exists()
    }

    /// Removes what nobody refers to. Does nothing while somebody else is adding; they will do it then. Returns
    /// whether it was done.
    pub fn collect(&self) -> Result<bool> {
        let Some(session) = Session::begin_collecting(self)? else {
            self.want_collect()?;
            return Ok(false);
        };
        // A foreign tool may hold an index entry whose documents it has not written or has removed: then what it
        // refers to is not known, and everything stays.
        let _lock = lock(&self.lock_path("names"))?;
        let names = Names::read(self)?;
        let ids: HashSet<ImageId> = names.all(self).iter().map(|named| named.id).collect();
        // What a damaged image needs, `fsck` may make it anew from: then all layers stay.
        let (mut kept_layers, mut all_known) = (HashSet::new(), true);
        let mut keep_layers = |id: &ImageId| match self.image_record(id) {
            Ok(record) => kept_layers.extend(record.diff_ids()),
            Err(_) => all_known = false,
        };
        ids.iter().for_each(&mut keep_layers);
        sweep(&session, &self.root.join("images/sha256"), |digest| {
            let id = ImageId(*digest);
            let only_in_use = !ids.contains(&id) && in_use(&self.image_directory(&id));
            if only_in_use {
                keep_layers(&id);
            }
            only_in_use || ids.contains(&id)
        })?;
        if all_known {
            sweep(&session, &self.root.join("layers/sha256"), |digest| kept_layers.contains(digest))?;
        }

        let mut kept_blobs = HashSet::new();
        let known = names.descriptors().iter().all(|entry| mark(self, entry, &mut kept_blobs).is_some());
        if known {
            sweep(&session, &self.root.join("layers/blobs"), |digest| kept_blobs.contains(digest))?;
            sweep(&session, &self.root.join("oci/blobs/sha256"), |digest| kept_blobs.contains(digest))?;
        }
        self.remove_layer_locks()?;
        match fs::remove_file(self.lock_path(WANTED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).at("removing", &self.lock_path(WANTED))
            }
            _ => Ok(true),
        }
    }

    /// Nobody can be waiting for one of them: whoever does is adding.
    fn remove_layer_locks(&self) -> Result<()> {
        let locks = self.root.join("locks");
        for entry in fs::read_dir(&locks).at("reading", &locks)? {
            let entry = entry.at("reading", &locks)?;
            if entry.file_name().to_string_lossy().starts_with("layer-") {
                fs::remove_file(entry.path()).at("removing", &entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes the entries of a directory that are named by a digest which `keep` does not want.
fn sweep(session: &Session, directory: &Path, mut keep: impl FnMut(&Digest) -> bool) -> Result<()> {
    for entry in fs::read_dir(directory).at("reading", directory)? {
        let entry = entry.at("reading", directory)?;
        let name = entry.file_name();
        let Some(digest) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else {
            continue;
        };
        if !keep(&digest) {
            session.remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether somebody holds an image: a machine that runs on it, or a command that reads it.
pub(super) fn in_use(image: &Path) -> bool {
    File::open(image.join("image.json"))
        .is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Adds the blobs that an entry of an index refers to. None if one of its documents cannot be read.
pub(super) fn mark(store: &Store, entry: &Descriptor, kept: &mut HashSet<Digest>) -> Option<()> {
    let digest: Digest = entry.digest().to_string().parse().ok()?;
    if !kept.insert(digest) {
        return Some(());
    }
    let bytes = blobs::document(store, &digest).ok()?;
    if let Ok(manifest) = serde_json::from_slice::<ImageManifest>(&bytes) {
        for blob in std::iter::once(manifest.config()).chain(manifest.layers()) {
            kept.insert(blob.digest().to_string().parse().ok()?);
        }
        return Some(());
    }
    let index: ImageIndex = serde_json::from_slice(&bytes).ok()?;
    index.manifests().iter().try_for_each(|entry| mark(store, entry, kept))
}
