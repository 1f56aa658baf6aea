//! From the layers' entry tables to one tree.

use super::format::BLOCK;
use super::{Error, LayerFiles};
use crate::layer::table::Table;
use crate::tree::{self, Tree};
use xxhash_rust::xxh3::Xxh3Default;

/// What some layers, one above the other, show.
pub struct Merged {
    pub tree: Tree,
    /// A function of the writer and of everything in the layers.
    pub identity: Xxh3Default,
}

/// Merges layers, lowest first, on behalf of `writer`, which has a part in the identity. At most one entry table
/// is in memory at a time.
pub fn merge_layers(layers: &[LayerFiles<'_>], writer: &[u8]) -> Result<Merged, Error> {
    let mut merged = Merged { tree: Tree::new(), identity: Xxh3Default::new() };
    merged.identity.update(writer);
    for (number, layer) in layers.iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| Error::TooLarge)?;
        let read_error = |source| Error::Read { path: layer.entries.to_owned(), source };
        let content = std::fs::read(layer.entries).map_err(read_error)?;
        let damage = |problem| Error::Damage { path: layer.entries.to_owned(), problem };
        let table = Table::parse(content).map_err(damage)?;
        if table.data_bytes() != layer.data_length || layer.data_length % BLOCK as u64 != 0 {
            return Err(Error::DataLength { path: layer.data.to_owned(), expected: table.data_bytes() });
        }
        merged.identity.update(&table.identity());
        tree::merge(&mut merged.tree, number, &table)?;
    }
    Ok(merged)
}

/// The file system's UUID.
pub fn uuid_of(identity: &Xxh3Default) -> [u8; 16] {
    *uuid::Builder::from_custom_bytes(identity.digest128().to_be_bytes()).as_uuid().as_bytes()
}

/// Of each layer, lowest first, the bytes of its data file that the merged tree does not show: files that were
/// removed or replaced, by a layer above or by their own.
pub fn hidden_bytes(layers: &[LayerFiles<'_>]) -> Result<Vec<u64>, Error> {
    Ok(merge_layers(layers, b"")?.tree.hidden_bytes(layers.len()))
}
