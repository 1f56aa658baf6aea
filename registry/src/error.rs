use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What can go wrong with a registry. Each message is one line: what, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach {host}: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("the connection to {host} failed: {reason} (attempts: {attempts})")]
    Broken { host: String, reason: String, attempts: u32 },
    #[error("{host} does not speak HTTP as it should: {reason}")]
    Protocol { host: String, reason: String },
    #[error(
        "the certificate of {host} is not trusted: {reason}; install its authority's certificate on this host, or \
         use --insecure"
    )]
    Certificate { host: String, reason: String },
    #[error(
        "the certificate of {host} {what}, says this host's clock, which is at {now}: if that is wrong, set the \
         clock; if it is right, the registry needs a new certificate"
    )]
    Clock { host: String, what: &'static str, now: String },
    #[error("TLS with {host} failed: {reason}")]
    Tls { host: String, reason: String },
    #[error("no certificate authorities are known on this host: install the package ca-certificates ({0})")]
    NoAuthorities(String),
    #[error(
        "{host} wants {url} to be fetched without TLS, which is only done on loopback or with --insecure"
    )]
    Plain { host: String, url: String },
    #[error("{host} redirects from https to http, which is not followed")]
    Downgrade { host: String },
    #[error("{host} redirects to ‘{to}’, which is not an address of the web")]
    RedirectTarget { host: String, to: String },
    #[error("{host} redirects more than {limit} times")]
    Redirects { host: String, limit: u32 },
    #[error(
        "{host} does not let anybody {action} without credentials, or there is no such repository: try `vmrun login {login}`"
    )]
    LoginNeeded { host: String, action: String, login: String },
    #[error("{host} does not accept the credentials it was given to {action}: try `vmrun login {login}`")]
    LoginRefused { host: String, action: String, login: String },
    #[error(
        "{host} refers to {to}, which wants credentials; those for {host} are not shown to anybody else{}",
        said(message)
    )]
    LoginElsewhere { host: String, to: String, message: String },
    #[error("{host} does not let you {action}{}", said(message))]
    Denied { host: String, action: String, message: String },
    #[error("{host} does not accept that user name and password{}", said(message))]
    WrongPassword { host: String, message: String },
    #[error("{host} wants authentication of a kind that is not supported: {kind}")]
    Challenge { host: String, kind: String },
    #[error("{what} was not found on {host}")]
    NotFound { host: String, what: String },
    #[error(
        "{host} wants us to wait{}: too many requests{}",
        wait.map_or_else(String::new, |wait| format!(" for {} s", wait.as_secs())), said(message)
    )]
    TooManyRequests { host: String, wait: Option<Duration>, message: String },
    #[error("{host} answered {status} when asked to {action}{}", said(message))]
    Status { host: String, status: u16, action: String, message: String },
    #[error("{what} from {host} is larger than {limit} bytes, the limit for such a document")]
    TooLarge { host: String, what: String, limit: u64 },
    #[error("{what} from {host} cannot be understood: {reason}")]
    Malformed { host: String, what: String, reason: String },
    #[error("{what} has {actual} bytes on {host}, but its manifest says {expected}")]
    Size { host: String, what: String, expected: u64, actual: u64 },
    #[error("{host} took {what}, but under the digest {actual} instead of {expected}")]
    OtherDigest { host: String, what: String, expected: String, actual: String },
    #[error("‘{0}’ is not a registry: expected HOST[:PORT]")]
    Host(String),
    #[error("‘{0}’ is no address of the web: expected http://… or https://…")]
    Address(String),
    #[error("‘{0}’ is no proxy's address: expected http://HOST:PORT")]
    Proxy(String),
    #[error("cannot keep what was fetched: {0}")]
    Keep(#[source] io::Error),
    #[error("{doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} cannot be understood: {reason}", path.display())]
    ConfigFile { path: PathBuf, reason: String },
    #[error("neither DOCKER_CONFIG nor HOME is set, so there is no place for credentials")]
    NoHome,
    #[error("the credential helper {program} {problem}")]
    Helper { program: String, problem: String },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// What a stranger wrote, fit for one line of a message.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let one_line: Vec<&str> = text.split_whitespace().take(LONGEST).collect();
    let escaped: String = one_line.join(" ").chars().take(LONGEST).flat_map(char::escape_debug).collect();
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}
