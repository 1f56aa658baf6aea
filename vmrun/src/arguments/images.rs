//! What the verbs about images take.

use std::path::PathBuf;

use clap::Args;

use super::Format;
use crate::machine::FormatChoice;

#[derive(Debug, Args)]
pub struct ImagesArguments {
    /// Print image IDs alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Print IDs whole
    #[arg(long)]
    pub no_trunc: bool,
    /// Print the digests of manifests, by which registries know images
    #[arg(long)]
    pub digests: bool,
    /// Accepted for Docker's sake: there are no hidden images
    #[arg(short, long)]
    pub all: bool,
    /// List only images with dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE,
    /// reference=PATTERN (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// List only images of this name; `*`, `?` and `[…]` match
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct TagArguments {
    /// The image, by name or ID
    pub source: String,
    /// The name it gets
    #[arg(value_name = "NAME[:TAG]")]
    pub target: String,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// `json`, or text with fields, such as '{{.Config.Cmd}}': plain paths only, no Go templates
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub format: String,
    /// Look only for an image, or only for a machine
    #[arg(long, value_name = "TYPE")]
    pub r#type: Option<InspectType>,
    /// Images and machines, by name or ID
    #[arg(required = true, value_name = "NAME|ID")]
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InspectType {
    Image,
    #[value(alias = "container")]
    Machine,
}

/// Shows how an image came to be, the latest step first. SIZE is what a layer's files take on disk; WASTED is how
/// much of that is hidden by later layers, in files that were removed or replaced.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// Print image IDs alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Print IDs and commands whole
    #[arg(long)]
    pub no_trunc: bool,
    /// Print sizes and dates for people; with =false, bytes and RFC 3339
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub human: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The image, by name or ID
    pub image: String,
}

#[derive(Debug, Args)]
pub struct LoadArguments {
    /// An archive (docker save or OCI), `-` for standard input, or an OCI layout directory [default: standard
    /// input, if that is no terminal]
    #[arg(short, long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Name the image [default: the name its archive gives it]
    #[arg(long, value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Command the image runs, as JSON (["sh","-c","…"]) or words for a shell; may be repeated,
    /// once a word
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Vec<String>,
    /// Entrypoint of the image, in the same forms
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Vec<String>,
    /// Set an environment variable in the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Working directory of the image's command
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User of the image's command
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Label the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// A tarball of a root file system, compressed or not; `-` for standard input
    pub file: PathBuf,
    /// The new image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct RmiArguments {
    /// Remove an image by its ID even when it has several names
    #[arg(short, long)]
    pub force: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RootfsArguments {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Leave out what upper layers removed or replaced
    #[arg(long)]
    pub flat: bool,
    /// The file system to write
    #[arg(long, value_enum, default_value_t = FormatChoice::Erofs)]
    pub format: FormatChoice,
    /// The image, by name or ID
    pub image: String,
}

/// Reads everything that an image's name refers to and holds it against its digest. Layers and disks are built
/// again from their blobs; a damaged blob is taken away, and the images that have to be pulled or loaded again
/// are named. Machines may run meanwhile.
///
/// Exit codes are those of fsck(8): 0 nothing was wrong, 1 everything was repaired, 4 something is still damaged.
#[derive(Debug, Args)]
pub struct FsckArguments {
    /// Only look, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print only what is damaged
    #[arg(short, long)]
    pub quiet: bool,
}
