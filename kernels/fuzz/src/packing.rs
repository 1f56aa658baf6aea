//! Compression, as quick as it can be: that the unpackers read what others pack is for other tests.

use std::io::Write;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    #[default]
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Lzma,
    Lz4,
    Lzop,
}

impl Packing {
    pub fn pack(self, content: &[u8]) -> Vec<u8> {
        match self {
            Packing::None => content.to_vec(),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(content, 1).unwrap(),
            Packing::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Lzma => {
                let options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
                let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Lz4 => lz4(content),
            Packing::Lzop => lzop(content),
        }
    }

    /// How a file or member is called that is packed so.
    pub fn suffix(self) -> &'static str {
        match self {
            Packing::None => "",
            Packing::Gzip => ".gz",
            Packing::Zstd => ".zst",
            Packing::Xz => ".xz",
            Packing::Bzip2 => ".bz2",
            Packing::Lzma => ".lzma",
            Packing::Lz4 => ".lz4",
            Packing::Lzop => ".lzo",
        }
    }
}

/// The legacy frame, one block of nothing but literals.
fn lz4(content: &[u8]) -> Vec<u8> {
    let mut block = vec![0xf0];
    let more = content.len().saturating_sub(15);
    match content.len() {
        short @ 0..15 => block[0] = (short as u8) << 4,
        _ => {
            block.resize(1 + more / 255, 255);
            block.push((more % 255) as u8);
        }
    }
    block.extend_from_slice(content);
    [&[0x02, 0x21, 0x4c, 0x18], &(block.len() as u32).to_le_bytes()[..], &block].concat()
}

/// Blocks as they are: none of them compressed.
fn lzop(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x89, b'L', b'Z', b'O', 0, b'\r', b'\n', 0x1a, b'\n'];
    // Version 0x1030 of lzop, its library's, the one that is needed, a method and a level; no flags.
    file.extend([0x10, 0x30, 0x20, 0xa0, 0x09, 0x40, 1, 5]);
    // Flags, mode, time in two parts, a name of no letters, the header's checksum.
    file.extend([0; 4 + 4 + 4 + 4 + 1 + 4]);
    for block in content.chunks(256 << 10) {
        let length = (block.len() as u32).to_be_bytes();
        file.extend([length, length].concat());
        file.extend_from_slice(block);
    }
    file.extend([0; 4]);
    file
}
