//! What a long job tells about itself while it works.

/// Hears of the layers of an image while they are read. Called from several threads, several times a second for
/// each layer, with counts that only grow: draw as often as you like, but do not block.
pub trait Progress: Sync {
    /// A layer begins. `total` is its compressed size in bytes, when that is known beforehand.
    fn layer_started(&self, _layer: &LayerName, _total: Option<u64>) {}
    /// `read` compressed bytes of it have been read so far.
    fn layer_advanced(&self, _layer: &LayerName, _read: u64) {}
    /// It is in the store, or it failed and an error follows.
    fn layer_finished(&self, _layer: &LayerName, _outcome: LayerOutcome) {}
}

/// Which layer is spoken of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayerName {
    /// Tells this layer from every other of the same job.
    pub index: usize,
    /// For people: the first digits of its digest, or its path in the archive.
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerOutcome {
    /// Read and built.
    Built,
    /// It was in the store already.
    AlreadyHere,
    /// Uploaded to a registry.
    Pushed,
    /// The registry had it already.
    AlreadyThere,
    /// The registry took it over from another of its repositories.
    Mounted,
    /// What looked like a layer was none, or something is wrong with it.
    Failed,
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {}
