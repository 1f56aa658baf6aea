//! What the images of an OCI layout are called.

use oci_spec::image::Descriptor;

use crate::reference::Reference;

/// Containerd and Docker write the full name here.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The specification's own (annotations.md); often only a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The name that a descriptor's annotations give, or a warning that they give only half of one.
pub fn name_of(descriptor: &Descriptor) -> (Option<Reference>, Option<String>) {
    let annotation = |key| descriptor.annotations().as_ref().and_then(|all| all.get(key));
    let parsed = |name: &String| name.parse::<Reference>();
    if let Some(Ok(name)) = annotation(CONTAINERD_NAME).map(parsed) {
        return (name.without_digest(), None);
    }
    match annotation(REF_NAME) {
        None => (None, None),
        // A lone word is a tag: what it is a tag of was the archive's file name, or nothing.
        Some(name) if name.contains([':', '/', '@']) => match parsed(name) {
            Ok(name) => (name.without_digest(), None),
            Err(error) => (None, Some(format!("its name there is not used: {error}"))),
        },
        Some(tag) => {
            let tag = super::shown(tag);
            (None, Some(format!("it has only a tag there, ‘{tag}’; --name gives it a name")))
        }
    }
}
