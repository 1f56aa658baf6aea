//! `vmrun rmi`.

use std::fs::{File, TryLockError};
use std::io;

use super::Store;
use super::error::{At, Error, Result};
use super::images::find;
use super::names::{Named, Withdrawal, withdraw};
use super::session::Session;
use crate::digest::Digest;
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
    /// names go; if they are several, only with `force`.
    ///
    /// An image that a machine runs on (somebody holds its [`super::Image`]) stays: that is an error, `force` or
    /// not. What other processes are adding just now is left alone; they then remove what is left over here.
    pub fn remove(&self, name: &str, force: bool) -> Result<Removed> {
        let session = Session::begin(self)?;
        let removed = withdraw(&session, |images| choose(self, images, name, force))?;
        self.want_collect()?;
        drop(session);
        self.collect()?;
        Ok(removed)
    }
}

fn choose(store: &Store, images: &[Named], wanted: &str, force: bool) -> Result<(Removed, Withdrawal)> {
    let found = find(images, wanted)?;
    let names: Vec<&Reference> = images
        .iter()
        .filter(|image| image.id == found.id)
        .filter_map(|image| image.reference.as_ref())
        .collect();
    let by_id = is_id(wanted, found);

    if let (false, Some(reference)) = (by_id, &found.reference)
        && images.iter().filter(|image| image.id == found.id).count() > 1
    {
        let removed = Removed { untagged: vec![reference.clone()], deleted: None };
        return Ok((removed, Withdrawal::Name(reference.clone())));
    }
    if names.len() > 1 && !force {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::SeveralNames { id: found.id, names });
    }
    check_unused(store, &found.id, wanted)?;
    let removed = Removed { untagged: names.into_iter().cloned().collect(), deleted: Some(found.id) };
    Ok((removed, Withdrawal::Image(found.id)))
}

/// Whether `found` was found by its id and not by its name.
fn is_id(wanted: &str, found: &Named) -> bool {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let by_name = wanted.parse::<Reference>().is_ok_and(|reference| match &found.reference {
        Some(name) => (name.registry(), name.repository()) == (reference.registry(), reference.repository()),
        None => false,
    });
    Digest::from_hex(hex).is_ok() || (!by_name && found.id.0.hex().starts_with(hex))
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
