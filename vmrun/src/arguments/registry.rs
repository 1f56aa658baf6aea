//! What the verbs that talk to registries take.

use clap::{Args, ValueEnum};
use rootfs_builder::image::Platform;

/// How a registry is trusted.
#[derive(Debug, Clone, Copy, Args)]
pub struct Trust {
    /// Accept any certificate, and use plain HTTP where there is no TLS; on loopback, plain HTTP
    /// needs no flag
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vmrun pull debian\n  vmrun pull quay.io/fedora/fedora:41\n  \
    vmrun pull localhost:5000/app@sha256:…")]
pub struct PullArguments {
    /// The platform to choose where there are several; only images for linux/amd64 run
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", default_value_t)]
    pub platform: Platform,
    /// Print only the image's name
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub trust: Trust,
    /// The image; without a registry, from Docker Hub, and without a tag, its `latest`
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "An image goes where its name says: give it a name with the registry first.\n  \
    vmrun tag app localhost:5000/app:1\n  vmrun push localhost:5000/app:1")]
pub struct PushArguments {
    /// Print only the image's name
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub trust: Trust,
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Credentials are kept in ~/.docker/config.json ($DOCKER_CONFIG), or by the credential\n\
    helper that is named there, where docker, podman and skopeo find them too."
)]
pub struct LoginArguments {
    /// User name [default: asked for]
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Password; seen by every user of this host, so better typed or given with --password-stdin
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    #[command(flatten)]
    pub trust: Trust,
    /// The registry
    #[arg(value_name = "SERVER", default_value = "docker.io")]
    pub server: String,
}

#[derive(Debug, Args)]
pub struct LogoutArguments {
    /// The registry
    #[arg(value_name = "SERVER", default_value = "docker.io")]
    pub server: String,
}

/// Whether an image is pulled before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullPolicy {
    // No help of their own: it would spread the help of all other options over twice the lines.
    Always,
    Missing,
    Never,
}
