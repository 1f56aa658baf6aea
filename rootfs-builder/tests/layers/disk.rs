//! Images as a user gets them: built, written to one file, checked and mounted.

use rootfs_builder::erofs::{self, LayerFiles, MetadataSummary, write_flat, write_metadata};
use rootfs_builder::ext4::{self, LargeFiles};
use rootfs_builder::layer::{self, LayerSummary, Limits, build};
use rustix::fs::SeekFrom;
use std::cell::OnceCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub struct Disk {
    directory: TempDir,
    parts: Vec<(PathBuf, PathBuf)>,
    flat: OnceCell<PathBuf>,
    ext4: OnceCell<PathBuf>,
    whole_ext4: OnceCell<PathBuf>,
    pub layers: Vec<LayerSummary>,
    pub metadata: MetadataSummary,
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Layer(#[from] layer::Error),
    #[error(transparent)]
    Image(#[from] erofs::Error),
    #[error(transparent)]
    Ext4(#[from] ext4::Error),
}

impl Disk {
    pub fn new(tars: &[Vec<u8>]) -> Result<Disk, Failure> {
        let directory = TempDir::new().unwrap();
        let path = |name: String| directory.path().join(name);
        let mut layers = Vec::new();
        let mut parts = Vec::new();
        for (number, tar) in tars.iter().enumerate() {
            let data = path(format!("{number}.data"));
            let entries = path(format!("{number}.entries"));
            layers.push(build(&tar[..], create(&data), create(&entries), &Limits::default())?);
            parts.push((data, entries));
        }
        let files = layer_files(&parts, &layers);
        let image = path("image".into());
        let metadata = write_metadata(&files, create(&image))?;
        let out = File::options().write(true).open(&image).unwrap();
        assert_eq!(out.metadata().unwrap().len(), metadata.length);
        for ((data, _), layer) in parts.iter().zip(&layers) {
            assert_eq!(fs::metadata(data).unwrap().len(), layer.data_bytes);
        }
        append_data(&parts, &out);
        let none = OnceCell::new;
        Ok(Disk { directory, parts, flat: none(), ext4: none(), whole_ext4: none(), layers, metadata })
    }

    pub fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// The same without what upper layers hide.
    pub fn flat(&self) -> &Path {
        self.flat.get_or_init(|| {
            let path = self.directory.path().join("flat");
            write_flat(&layer_files(&self.parts, &self.layers), &create(&path)).unwrap();
            path
        })
    }

    /// The same as ext4, large files where the layers have them; fails if ext4 cannot hold it.
    pub fn try_ext4(&self) -> Result<&Path, Failure> {
        if self.ext4.get().is_none() {
            let path = self.directory.path().join("ext4");
            let out = create(&path);
            let summary = ext4::write(&layer_files(&self.parts, &self.layers), LargeFiles::InLayers, &out)?;
            assert_eq!(out.metadata().unwrap().len(), summary.length);
            append_data(&self.parts, &out);
            self.ext4.set(path).unwrap();
        }
        Ok(self.ext4.get().unwrap())
    }

    pub fn ext4(&self) -> &Path {
        self.try_ext4().unwrap()
    }

    /// An ext4 that is complete in itself.
    pub fn whole_ext4(&self) -> &Path {
        self.whole_ext4.get_or_init(|| {
            let path = self.directory.path().join("whole-ext4");
            let out = create(&path);
            ext4::write(&layer_files(&self.parts, &self.layers), LargeFiles::Copied, &out).unwrap();
            path
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.image()).unwrap()
    }

    /// Has `fsck.erofs` check it, and the flat one.
    pub fn check(&self) -> &Disk {
        run(Command::new("fsck.erofs").arg("--extract").arg(self.image()));
        run(Command::new("fsck.erofs").arg("--extract").arg(self.flat()));
        self
    }

    /// Has `e2fsck` check both forms of the ext4.
    pub fn check_ext4(&self) -> &Disk {
        run(Command::new("e2fsck").arg("-fn").arg(self.ext4()));
        run(Command::new("e2fsck").arg("-fn").arg(self.whole_ext4()));
        self
    }

    pub fn mount(&self) -> Mount<'_> {
        self.mount_file(&self.image(), "erofs")
    }

    pub fn mount_flat(&self) -> Mount<'_> {
        self.mount_file(self.flat(), "erofs")
    }

    pub fn mount_ext4(&self) -> Mount<'_> {
        self.mount_file(self.ext4(), "ext4")
    }

    pub fn mount_whole_ext4(&self) -> Mount<'_> {
        self.mount_file(self.whole_ext4(), "ext4")
    }

    fn mount_file(&self, file: &Path, format: &str) -> Mount<'_> {
        let at = file.with_extension("mnt");
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-t", format, "-o", "ro,loop"]).arg(file).arg(&at));
        Mount { at, _disk: self }
    }
}

fn create(path: &Path) -> File {
    File::options().read(true).write(true).create_new(true).open(path).unwrap()
}

fn layer_files<'a>(parts: &'a [(PathBuf, PathBuf)], layers: &[LayerSummary]) -> Vec<LayerFiles<'a>> {
    parts
        .iter()
        .zip(layers)
        .map(|((data, entries), layer)| LayerFiles { data, entries, data_length: layer.data_bytes })
        .collect()
}

pub struct Mount<'a> {
    at: PathBuf,
    _disk: &'a Disk,
}

impl Mount<'_> {
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: another test that is just starting a program may hold one of our files for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        let _ = fs::remove_dir(&self.at);
    }
}

fn append_data(parts: &[(PathBuf, PathBuf)], out: &File) {
    for (data, _) in parts {
        append(&File::open(data).unwrap(), out);
    }
}

/// Appends a part, holes as holes.
fn append(part: &File, out: &File) {
    let length = part.metadata().unwrap().len();
    let begin = out.metadata().unwrap().len();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(part, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(part, SeekFrom::Hole(data)).unwrap();
        at = data;
        while at < end {
            let bytes = buffer.len().min((end - at) as usize);
            part.read_exact_at(&mut buffer[..bytes], at).unwrap();
            out.write_all_at(&buffer[..bytes], begin + at).unwrap();
            at += bytes as u64;
        }
    }
    out.set_len(begin + length).unwrap();
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
