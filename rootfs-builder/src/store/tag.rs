//! `vmrun tag`.

use super::Store;
use super::error::{Error, Result};
use super::images::find;
use super::load::check_name;
use super::names::{Names, publish};
use crate::image::ImageId;
use crate::reference::Reference;

impl Store {
    /// Gives an image one more name. The image that had it before keeps its other names, or becomes nameless.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<ImageId> {
        check_name(Some(target))?;
        // What is found in the index now cannot be swept away before this session ends.
        self.adding(|session| {
            let names = Names::read(self)?;
            let images = names.all(self);
            let found = find(&images, source)?.0;
            let manifest = found.manifest.to_oci();
            let entry = names.descriptors().iter().find(|entry| *entry.digest() == manifest);
            let entry = entry.ok_or_else(|| Error::NotFound(source.to_owned()))?;
            publish(session, entry, found.id, std::slice::from_ref(target), None)?;
            Ok(found.id)
        })
    }
}
