//! The merged tree of an image.
