//! How a layer or an archive is compressed, told by its first bytes: media types and file names lie.

use std::io::{self, BufRead, Read};

/// Bytes that [`Compression::detect`] wants to see.
pub const PREFIX_LENGTH: usize = 10;

/// Memory that an xz stream may ask of its reader; `xz -9` needs 65 MiB.
const XZ_MEMORY_LIMIT: u64 = 192 << 20;
/// Window of a zstd frame, as a power of two: 128 MiB, what the format says every decoder should accept.
const ZSTD_LARGEST_WINDOW: u32 = 27;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// From the first [`PREFIX_LENGTH`] bytes, or all there are.
    pub fn detect(prefix: &[u8]) -> Compression {
        match prefix {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame: zstd streams with a seek table or a signature may begin with one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // A tar's first name may begin with "BZh"; a block's or the end's magic number must follow.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }

    /// A reader of the uncompressed bytes. Streams that follow one another (gzip members, zstd and xz frames,
    /// bzip2 streams) are read as one.
    pub fn decoder<'a>(self, compressed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::None => Box::new(compressed),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_LARGEST_WINDOW)?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY_LIMIT,
                    liblzma::stream::CONCATENATED,
                )
                .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
            }
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(compressed)),
        })
    }

    /// The layer media type. The OCI image-spec has none for xz and bzip2; theirs follow its pattern.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Compression::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
            Compression::Bzip2 => "application/vnd.oci.image.layer.v1.tar+bzip2",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        }
    }
}

/// Looks at the first bytes of a stream without taking them: returns the compression and a reader of all of it.
pub fn sniff<'a>(mut stream: impl Read + 'a) -> io::Result<(Compression, impl Read + 'a)> {
    let mut prefix = Vec::with_capacity(PREFIX_LENGTH);
    stream.by_ref().take(PREFIX_LENGTH as u64).read_to_end(&mut prefix)?;
    Ok((Compression::detect(&prefix), io::Cursor::new(prefix).chain(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let encoded = match compression {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Compression::Zstd => zstd::encode_all(bytes, 1),
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
        };
        encoded.expect("encodes")
    }

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Bzip2];

    fn decode(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        compression.decoder(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_is_told_by_content_and_read_through_all_its_streams() {
        for compression in ALL {
            let mut bytes = compressed(compression, b"first ");
            bytes.extend(compressed(compression, b"second"));
            assert_eq!(Compression::detect(&bytes), compression);
            assert_eq!(decode(compression, &bytes).expect("decodes"), b"first second");
            let empty = compressed(compression, b"");
            assert_eq!(Compression::detect(&empty), compression);
            assert_eq!(decode(compression, &empty).expect("decodes"), b"");
        }
        assert_eq!(Compression::detect(b"BZh9 is a file name"), Compression::None);
        assert_eq!(Compression::detect(b""), Compression::None);
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        for compression in &ALL[1..] {
            let bytes = compressed(*compression, &[7; 4000]);
            for cut in 1..bytes.len() {
                assert!(decode(*compression, &bytes[..cut]).is_err(), "{compression:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_stream_that_wants_too_much_memory_is_refused() {
        // An encoder with that dictionary would take as much memory itself, so a small stream is patched.
        let small = compressed(Compression::Xz, &[7; 100]);
        let mut huge = small.clone();
        // Block header: size, flags, filter id 0x21, properties size 1, dictionary size code; then a CRC32.
        let at = huge.windows(2).position(|pair| pair == [0x21, 1]).expect("an LZMA2 filter") + 2;
        huge[at] = 38;
        let header = 12..12 + (usize::from(huge[12]) + 1) * 4 - 4;
        let mut crc = flate2::Crc::new();
        crc.update(&huge[header.clone()]);
        huge[header.end..header.end + 4].copy_from_slice(&crc.sum().to_le_bytes());
        assert!(decode(Compression::Xz, &small).is_ok());
        let error = decode(Compression::Xz, &huge).expect_err("refused");
        assert!(error.to_string().to_lowercase().contains("memory"), "{error}");
    }

    #[test]
    fn sniffing_takes_nothing_away() {
        let (compression, mut all) = sniff(&b"\x1f\x8b"[..]).expect("reads");
        let mut bytes = Vec::new();
        all.read_to_end(&mut bytes).expect("reads");
        assert_eq!((compression, bytes.as_slice()), (Compression::Gzip, &b"\x1f\x8b"[..]));
    }
}
