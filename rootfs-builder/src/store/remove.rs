//! `vmrun rmi`.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;

use super::Store;
use super::error::{At, Error, Result};
use super::images::{By, find};
use super::names::{Named, Withdrawal, withdraw};
use super::session::Session;
use crate::image::ImageId;
use crate::reference::Reference;

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub untagged: Vec<Reference>,
    /// The image, when the last of its names went.
    pub deleted: Option<ImageId>,
}

impl Store {
    /// Removes a name, and with the last one the image and whatever of its layers no other image has. By id, all
    /// names go; if they are of several repositories, only with `force`.
    ///
    /// An image that `is_needed`, or that a machine runs on (somebody holds its [`super::Image`]), stays: that is an
    /// error, `force` or not. What other processes are adding just now is left alone; they then remove what is left over here.
    pub fn remove(&self, name: &str, force: bool, is_needed: &dyn Fn(ImageId) -> bool) -> Result<Removed> {
        let session = Session::begin(self)?;
        let removed = withdraw(&session, |images| choose(self, images, name, force, is_needed))?;
        self.want_collect()?;
        drop(session);
        self.collect()?;
        Ok(removed)
    }
}

fn choose(
    store: &Store,
    images: &[Named],
    wanted: &str,
    force: bool,
    is_needed: &dyn Fn(ImageId) -> bool,
) -> Result<(Removed, Withdrawal)> {
    let (found, by) = find(images, wanted)?;
    let names: Vec<&Reference> = images
        .iter()
        .filter(|image| image.id == found.id)
        .filter_map(|image| image.reference.as_ref())
        .collect();

    if let (By::Name, Some(reference)) = (by, &found.reference)
        && images.iter().filter(|image| image.id == found.id).count() > 1
    {
        let removed = Removed { untagged: vec![reference.clone()], deleted: None };
        return Ok((removed, Withdrawal::Name(reference.clone())));
    }
    // Several tags of one repository go together.
    let repositories: BTreeSet<(&str, &str)> =
        names.iter().map(|name| (name.registry(), name.repository())).collect();
    if repositories.len() > 1 && !force {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::SeveralNames { id: found.id, names });
    }
    if is_needed(found.id) {
        return Err(Error::InUse { name: wanted.to_owned() });
    }
    check_unused(store, &found.id, wanted)?;
    let removed = Removed { untagged: names.into_iter().cloned().collect(), deleted: Some(found.id) };
    Ok((removed, Withdrawal::Image(found.id)))
}

fn check_unused(store: &Store, id: &ImageId, name: &str) -> Result<()> {
    let path = store.image_directory(id).join("image.json");
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.at("opening", &path)?,
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { name: name.to_owned() }),
        Err(TryLockError::Error(error)) => Err(error).at("locking", &path),
    }
}
