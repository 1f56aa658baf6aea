//! What the fuzz targets of kernels share: a store to add to, and files that are right but for what the fuzzer wants
//! wrong, so that it spends its time behind magic numbers and checksums.
//!
//! `cargo +nightly fuzz run package` in `kernels/`; the other targets are kernel and modules.

pub mod archive;
pub mod elf;
pub mod packing;
pub mod store;

use arbitrary::Arbitrary;

/// The version that everything is of that is right.
pub const VERSION: &str = "6.1.0-fuzz";

/// Bytes to be changed at the very end.
#[derive(Arbitrary, Debug, Default)]
pub struct Damage {
    flips: Option<(u16, u8)>,
    more_flips: Option<[(u16, u8); 3]>,
    cut: Option<u16>,
}

impl Damage {
    pub fn done_to(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (at, mask) in self.flips.iter().chain(self.more_flips.iter().flatten()) {
            if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                *byte ^= mask;
            }
        }
        bytes.truncate(self.cut.map_or(usize::MAX, usize::from));
        bytes
    }

    pub fn is_none(&self) -> bool {
        self.flips.is_none() && self.more_flips.is_none() && self.cut.is_none()
    }
}
