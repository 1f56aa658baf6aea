//! The readers of packages, through all that adding a kernel does: whatever a package holds, there is either a kernel
//! that is whole, or a refusal in one line and nothing else.
//!
//! Some inputs are files as they are; most are packages, right but for what the fuzzer wants wrong, with digests that
//! fit.

#![no_main]

use std::cell::RefCell;
use std::fs;
use std::io::Read;

use arbitrary::Arbitrary;
use kernels::{Kernel, Source};
use kernels_fuzz::archive::{self, Oddity, TarFile};
use kernels_fuzz::packing::Packing;
use kernels_fuzz::store::Store;
use kernels_fuzz::{Damage, VERSION, elf};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

#[derive(Arbitrary, Debug)]
struct Input {
    first: Package,
    second: Option<Package>,
    /// A detached signature beside the first.
    signature: Option<Vec<u8>>,
    named: bool,
}

#[derive(Arbitrary, Debug)]
struct Package {
    form: Form,
    parts: u8,
    files: Vec<File>,
    packing: Packing,
    damage: Damage,
}

#[derive(Arbitrary, Debug)]
enum Form {
    Deb { about: About, members: Vec<(u8, Vec<u8>)>, control: Packing, size: Option<[u8; 10]> },
    Rpm { about: About, more: Vec<RpmValue>, signatures: Vec<RpmValue>, digests: u8, store: Option<[u32; 2]> },
    Apk { about: About, signer: Vec<u8>, wrong_digest: bool },
    Arch { about: About },
    Tar,
    Raw { magic: u8, bytes: Vec<u8> },
}

/// What a package says of itself.
#[derive(Arbitrary, Debug)]
struct About {
    architecture: u8,
    missing: u8,
    more: Vec<u8>,
    version: Option<Vec<u8>>,
}

#[derive(Arbitrary, Debug)]
struct RpmValue {
    tag: u8,
    kind: u8,
    offset: Option<u32>,
    count: Option<u32>,
    value: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct File {
    name: Name,
    content: Content,
    oddity: Option<Oddity>,
}

#[derive(Arbitrary, Debug)]
enum Name {
    Module(u8),
    Image(Vec<u8>),
    Config,
    List(u8),
    OtherVersion(Vec<u8>),
    Pieces(Vec<u8>),
    Raw(Vec<u8>),
    Long(u16),
}

#[derive(Arbitrary, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Kernel { version: Option<Vec<u8>>, config: Option<Vec<u8>> },
    Module { records: Vec<Vec<u8>>, symbols: Vec<Vec<u8>>, packing: Packing },
    Large(u16, u8),
}

const PIECES: [&str; 16] = [
    "boot", "lib", "modules", "usr", VERSION, "kernel", "updates", "a.ko", "b.ko.xz", "..", ".", "",
    "vmlinuz", "config", "extra", "crypto",
];
const LISTS: [&str; 6] =
    ["modules.order", "modules.builtin", "modules.builtin.modinfo", "modules.dep", "vmlinuz", "config"];
/// Options that let a machine start, so that archives of modules are made.
const CONFIG: &str = "CONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_EROFS_FS=m\nCONFIG_OVERLAY_FS=y\n\
    CONFIG_VSOCKETS=y\nCONFIG_VIRTIO_VSOCKETS=y\nCONFIG_EXT4_FS=y\n";
const MAGICS: [&[u8]; 9] = [
    b"",
    b"!<arch>\n",
    &[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0],
    &[0x1f, 0x8b, 8],
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x28, 0xb5, 0x2f, 0xfd],
    b"BZh9",
    b"ADB",
    b"CONFIG_A=y\n",
];

impl Name {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Name::Module(which) => {
                let names =
                    ["virtio_blk.ko", "virtio-mmio.ko.xz", "erofs.ko.zst", "virtio.ko.gz", "crypto/x.ko"];
                format!("lib/modules/{VERSION}/kernel/{}", names[usize::from(*which) % names.len()])
                    .into_bytes()
            }
            Name::Image(version) => [b"boot/vmlinuz-", version.as_slice()].concat(),
            Name::Config => format!("./boot/config-{VERSION}").into_bytes(),
            Name::List(which) => {
                format!("usr/lib/modules/{VERSION}/{}", LISTS[usize::from(*which) % LISTS.len()]).into_bytes()
            }
            Name::OtherVersion(version) => [b"lib/modules/", version.as_slice(), b"/a.ko"].concat(),
            Name::Pieces(pieces) => {
                let pieces = pieces.iter().take(12).map(|piece| PIECES[usize::from(*piece) % PIECES.len()]);
                pieces.collect::<Vec<_>>().join("/").into_bytes()
            }
            Name::Raw(bytes) => bytes.clone(),
            Name::Long(length) => {
                let deep = "d/".repeat(usize::from(*length) % 2500);
                format!("lib/modules/{VERSION}/{deep}a.ko").into_bytes()
            }
        }
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Kernel { version, config } => {
                elf::kernel(version.as_deref().unwrap_or(VERSION.as_bytes()), config.as_deref())
            }
            Content::Module { records, symbols, packing } => packing.pack(&elf::module(records, symbols)),
            Content::Large(length, fill) => vec![*fill; usize::from(*length)],
        }
    }
}

impl About {
    fn architecture(&self, right: &'static str) -> &'static str {
        match self.architecture {
            0..240 => right,
            240..248 => "all",
            248..252 => "noarch",
            252..255 => "arm64",
            255 => "",
        }
    }

    fn version(&self) -> Vec<u8> {
        self.version.clone().unwrap_or_else(|| b"6.1-1".to_vec())
    }

    /// Lines of the fields that are not missing, and whatever else there is.
    fn text(&self, between: &str, names: [&str; 3], architecture: &'static str) -> Vec<u8> {
        let values = [b"linux-image".to_vec(), self.version(), self.architecture(architecture).into()];
        let mut text = Vec::new();
        for (place, (name, value)) in names.iter().zip(values).enumerate() {
            if self.missing & 0x80 == 0 || self.missing & 1 << place == 0 {
                text.extend([name.as_bytes(), between.as_bytes(), &value, b"\n"].concat());
            }
        }
        text.extend(&self.more);
        text
    }
}

impl Package {
    /// All that the package has, the parts of a right kernel first.
    fn files(&self) -> Vec<TarFile<'_>> {
        let mut files = Vec::new();
        let mut add = |bit: u8, name: String, content: Vec<u8>| {
            if self.parts & bit == 0 {
                files.push(TarFile::plain(name, content));
            }
        };
        let module = |name: &str| format!("./lib/modules/{VERSION}/kernel/{name}");
        add(1, format!("./boot/vmlinuz-{VERSION}"), elf::right_kernel());
        add(2, format!("./boot/config-{VERSION}"), CONFIG.into());
        add(
            4,
            module("virtio.ko"),
            elf::module(&[b"depends=".to_vec()], &[b"__ksymtab_virtio_add".to_vec()]),
        );
        let records = [b"depends=virtio".to_vec(), b"softdep=pre: x".to_vec(), b"alias=virtio:d2v*".to_vec()];
        add(8, module("virtio_blk.ko"), elf::module(&records, &[]));
        add(
            16,
            module("virtio_mmio.ko.gz"),
            Packing::Gzip.pack(&elf::module(&[b"depends=virtio".to_vec()], &[])),
        );
        add(32, module("erofs.ko"), elf::module(&[], &[]));
        files.extend(self.files.iter().take(16).map(|file| TarFile {
            name: file.name.bytes(),
            content: file.content.bytes(),
            oddity: file.oddity.as_ref(),
        }));
        files
    }

    fn bytes(&self) -> Vec<u8> {
        let whole = match &self.form {
            Form::Deb { about, members, control, size } => self.deb(about, members, *control, size.as_ref()),
            Form::Rpm { about, more, signatures, digests, store } => {
                self.rpm(about, more, signatures, *digests, *store)
            }
            Form::Apk { about, signer, wrong_digest } => self.apk(about, signer, *wrong_digest),
            Form::Arch { about } => {
                let about = about.text(" = ", ["pkgname", "pkgver", "arch"], "x86_64");
                let files: Vec<_> =
                    [TarFile::plain(".PKGINFO", about)].into_iter().chain(self.files()).collect();
                self.packing.pack(&archive::tar(&files))
            }
            Form::Tar => self.packing.pack(&archive::tar(&self.files())),
            Form::Raw { magic, bytes } => [MAGICS[usize::from(*magic) % MAGICS.len()], bytes].concat(),
        };
        self.damage.done_to(whole)
    }

    fn deb(
        &self,
        about: &About,
        members: &[(u8, Vec<u8>)],
        control: Packing,
        size: Option<&[u8; 10]>,
    ) -> Vec<u8> {
        let text = about.text(": ", ["Package", "Version", "Architecture"], "amd64");
        let text = control.pack(&archive::tar(&[TarFile::plain("./control", text)]));
        let data = self.packing.pack(&archive::tar(&self.files()));
        let mut deb = b"!<arch>\n".to_vec();
        let mut add = |name: &str, content: &[u8], size: Option<&[u8; 10]>| {
            let length = format!("{:<10}", content.len());
            deb.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}", 0, 0, 0, 100_644).bytes());
            deb.extend(size.map_or(length.as_bytes(), |size| size));
            deb.extend(b"`\n");
            deb.extend(content);
            deb.resize(deb.len().next_multiple_of(2), b'\n');
        };
        add("debian-binary", b"2.0\n", None);
        let names = ["_gpgorigin", "control.tar", "data.tar", "control.tar.xz/", "x"];
        for (name, content) in members.iter().take(20) {
            add(names[usize::from(*name) % names.len()], content, None);
        }
        add(&format!("control.tar{}", control.suffix()), &text, None);
        add(&format!("data.tar{}", self.packing.suffix()), &data, size);
        deb
    }

    fn rpm(
        &self,
        about: &About,
        more: &[RpmValue],
        signatures: &[RpmValue],
        digests: u8,
        store: Option<[u32; 2]>,
    ) -> Vec<u8> {
        let payload = self.packing.pack(&archive::cpio(&self.files()));
        let text = |text: &[u8]| [text, b"\0"].concat();
        let mut values = vec![
            (1000, 6, text(b"kernel-core")),
            (1001, 6, text(&about.version())),
            (1002, 6, text(b"1.fc41")),
            (1022, 6, text(about.architecture("x86_64").as_bytes())),
            (1124, 6, text(b"cpio")),
        ];
        if digests & 1 == 0 {
            values.push((5092, 8, text(hex(&payload).as_bytes())));
        }
        if about.missing & 0x80 != 0 {
            values.retain(|(tag, ..)| about.missing & 1 << (tag % 8) == 0);
        }
        let header = rpm_header(&values, more, None);
        let digest = (digests & 2 == 0).then(|| (273, 6, text(hex(&header).as_bytes())));
        let signatures = rpm_header(digest.as_slice(), signatures, store);
        let mut rpm = vec![0; 96];
        rpm[..8].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0, 0, digests >> 7]);
        rpm.extend(signatures);
        rpm.resize(rpm.len().next_multiple_of(8), 0);
        [rpm, header, payload].concat()
    }

    fn apk(&self, about: &About, signer: &[u8], wrong_digest: bool) -> Vec<u8> {
        let mut data = Packing::Gzip.pack(&archive::tar(&self.files()));
        let mut text = about.text(" = ", ["pkgname", "pkgver", "arch"], "x86_64");
        text.extend(format!("\ndatahash = {}\n", hex(&data)).bytes());
        if wrong_digest {
            data.push(0);
        }
        let stream = |name: Vec<u8>, content: Vec<u8>| {
            let mut tar = archive::tar(&[TarFile::plain(name, content)]);
            tar.truncate(tar.len() - 1024);
            Packing::Gzip.pack(&tar)
        };
        let signer = [b".SIGN.RSA.", signer].concat();
        [stream(signer, b"signed".to_vec()), stream(b".PKGINFO".to_vec(), text), data].concat()
    }
}

/// A header of RPM; `lie` is what it says of its own size.
fn rpm_header(values: &[(u32, u32, Vec<u8>)], more: &[RpmValue], lie: Option<[u32; 2]>) -> Vec<u8> {
    const TAGS: [u32; 12] = [1000, 1001, 1002, 1022, 1124, 5092, 268, 267, 1005, 273, 63, 62];
    let (mut records, mut store) = (Vec::new(), Vec::new());
    let mut count = 0;
    let mut add = |fields: [u32; 4], value: &[u8]| {
        fields.iter().for_each(|field| records.extend(field.to_be_bytes()));
        store.extend(value);
        count += 1;
        store.len() as u32
    };
    let mut place = 0;
    // The first of a tag is the one that counts.
    for value in more.iter().take(16) {
        let tag = TAGS[usize::from(value.tag) % TAGS.len()];
        let length = value.value.len() as u32;
        let fields =
            [tag, u32::from(value.kind % 10), value.offset.unwrap_or(place), value.count.unwrap_or(length)];
        place = add(fields, &value.value);
    }
    for (tag, kind, value) in values {
        place = add([*tag, *kind, place, 1], value);
    }
    let [said, bytes] = lie.unwrap_or([count, store.len() as u32]);
    let start = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    [&start[..], &said.to_be_bytes(), &bytes.to_be_bytes(), &records, &store].concat()
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was accepted can be used, and its disk has nothing outside of it.
fn accepted(kernel: &Kernel) {
    assert!(fs::metadata(&kernel.vmlinux).unwrap().is_file());
    assert!(kernel.version.bytes().all(|byte| byte.is_ascii_graphic()));
    let Some(disk) = kernel.modules_disk() else { return };
    let mut tar = tar::Archive::new(fs::File::open(disk).unwrap());
    let mut names = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
        assert!(entry.header().entry_type().is_file() || entry.header().entry_type().is_dir());
        std::io::copy(&mut entry.by_ref(), &mut std::io::sink()).unwrap();
        names.push(path);
    }
    for needed in ["modules.dep", "modules.dep.bin", "modules.alias.bin", "modprobe"] {
        assert!(names.iter().any(|name| name.as_os_str() == needed), "{needed}");
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "a file twice on the disk");
}

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

fuzz_target!(|input: Input| {
    STORE.with_borrow_mut(|store| {
        let store = store.get_or_insert_with(|| Store::new("package"));
        let mut sources: Vec<Source> = Vec::new();
        for (place, package) in [Some(&input.first), input.second.as_ref()].into_iter().flatten().enumerate()
        {
            let path = store.scratch(&format!("source-{place}"));
            fs::write(&path, package.bytes()).unwrap();
            sources.push(path.into());
        }
        let signature = store.scratch("source-0.sig");
        match &input.signature {
            Some(bytes) => fs::write(&signature, bytes).unwrap(),
            None => drop(fs::remove_file(&signature)),
        }
        store.add(&sources, input.named.then_some("kernel"), accepted);
    });
});
