//! `vmrun prune`: images that nobody needs any more, and what killed commands left.

use std::collections::{HashMap, HashSet};

use super::Store;
use super::collect::in_use;
use super::error::Result;
use super::images::ImageSummary;
use super::names::{Named, Withdrawal, withdraw};
use super::session::Session;
use crate::image::ImageId;
use crate::reference::Reference;

/// What pruning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub untagged: Vec<Reference>,
    pub deleted: Vec<ImageId>,
    /// Bytes of disk that were given back.
    pub reclaimed: u64,
    /// Somebody is adding something just now: they remove the files when they are done.
    pub deferred: bool,
}

impl Store {
    /// Removes the images that have no name, with `all` those that have, too; only those that are `wanted` and
    /// that nobody holds. Then all files that nothing refers to, finished or not.
    pub fn prune(&self, all: bool, wanted: &dyn Fn(&ImageSummary) -> bool) -> Result<Pruned> {
        let before = self.allocated()?;
        // Removes the drafts of the dead.
        let session = Session::begin(self)?;
        let summaries = self.images()?;
        let is_wanted = |named: &Named| {
            let is_it = |image: &&ImageSummary| image.id == named.id && image.reference == named.reference;
            summaries.iter().find(is_it).is_some_and(wanted)
        };
        let mut pruned = withdraw(&session, |images| {
            let chosen = choose(self, images, all, &is_wanted);
            let entry = |named: &&Named| (named.manifest, named.reference.clone());
            let entries: HashSet<_> = chosen.iter().map(entry).collect();
            Ok((report(images, &chosen), Withdrawal::Entries(entries)))
        })?;
        self.want_collect()?;
        drop(session);
        pruned.deferred = !self.collect()?;
        pruned.reclaimed = before.saturating_sub(self.allocated()?);
        Ok(pruned)
    }
}

/// An image in use keeps its entries. One that has a name somewhere needs no nameless entry besides.
fn choose<'a>(
    store: &Store,
    images: &'a [Named],
    all: bool,
    is_wanted: &dyn Fn(&Named) -> bool,
) -> Vec<&'a Named> {
    let mut held: HashMap<ImageId, bool> = HashMap::new();
    let mut is_held = |id: ImageId| *held.entry(id).or_insert_with(|| in_use(&store.image_directory(&id)));
    images
        .iter()
        .filter(|named| (all || named.reference.is_none()) && is_wanted(named) && !is_held(named.id))
        .collect()
}

fn report(images: &[Named], chosen: &[&Named]) -> Pruned {
    let count = |id| images.iter().filter(|named| named.id == id).count();
    let chosen_count = |id| chosen.iter().filter(|named| named.id == id).count();
    let mut deleted: Vec<ImageId> =
        chosen.iter().map(|named| named.id).filter(|id| chosen_count(*id) == count(*id)).collect();
    deleted.sort();
    deleted.dedup();
    let mut untagged: Vec<Reference> = chosen.iter().filter_map(|named| named.reference.clone()).collect();
    untagged.sort();
    Pruned { untagged, deleted, ..Pruned::default() }
}
