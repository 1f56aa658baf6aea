//! A small HTTP server that does what a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rootfs_builder::digest::Digest;

use crate::image::{Image, MANIFEST};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Requests of the same method to the same path before this one.
    pub earlier: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// `GET /v2/`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What is sent back, to the byte.
pub struct Reply {
    head: String,
    body: Vec<u8>,
    end: End,
}

/// What happens after the last byte.
enum End {
    Keep,
    Close,
    /// Nothing more comes, ever.
    Hang,
    /// Before each byte.
    Drip(Duration),
    /// The body again and again.
    Endless,
}

impl Reply {
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        let body = body.into();
        let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n", body.len());
        Reply { head, body, end: End::Keep }
    }

    pub fn ok(kind: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply::status(200, body).header("Content-Type", kind)
    }

    /// A head without any length.
    pub fn bare(head: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { head: head.to_owned(), body: body.into(), end: End::Close }
    }

    pub fn redirect(to: &str) -> Reply {
        Reply::status(307, "").header("Location", to)
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut(mut self, length: usize) -> Reply {
        self.body.truncate(length);
        self.end = End::Close;
        self
    }

    pub fn hang(mut self, length: usize) -> Reply {
        self.body.truncate(length);
        self.end = End::Hang;
        self
    }

    pub fn drip(mut self, pause: Duration) -> Reply {
        self.end = End::Drip(pause);
        self
    }

    pub fn endless(mut self) -> Reply {
        self.end = End::Endless;
        self
    }

    /// Returns whether another request may follow.
    fn send(self, seen: &Seen, stream: &mut impl Write) -> io::Result<bool> {
        let head = format!("{}\r\n", self.head);
        if let End::Drip(pause) = self.end {
            for byte in head.bytes().chain(self.body) {
                stream.write_all(&[byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
            return Ok(false);
        }
        stream.write_all(head.as_bytes())?;
        if seen.method != "HEAD" {
            stream.write_all(&self.body)?;
        }
        stream.flush()?;
        match self.end {
            End::Keep => Ok(true),
            End::Close | End::Drip(_) => Ok(false),
            End::Hang => {
                thread::sleep(Duration::from_secs(20));
                Ok(false)
            }
            End::Endless => loop {
                stream.write_all(&self.body)?;
            },
        }
    }
}

/// A server on a port of its own, for as long as the test runs.
pub struct Server {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

impl Server {
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_with(handler, |stream, serve| serve(stream))
    }

    /// `accept` may put TLS around a connection.
    pub fn start_with(
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        accept: impl Fn(&mut TcpStream, &dyn Fn(&mut dyn ReadWrite)) + Send + Sync + 'static,
    ) -> Server
where {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (known, handler, accept) = (seen.clone(), Arc::new(handler), Arc::new(accept));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, known) = (stream.unwrap(), known.clone());
                // Heads and bodies are written apart; nobody is to wait for the second.
                stream.set_nodelay(true).unwrap();
                let (handler, accept) = (handler.clone(), accept.clone());
                thread::spawn(move || {
                    // A client that goes away is none of the server's business.
                    accept(&mut stream, &|stream| drop(serve(stream, &known, &*handler)));
                });
            }
        });
        Server { host, seen }
    }

    /// One that has images in the repository `app`, under tags; `first` may answer before it does.
    pub fn registry(
        tags: &[(&str, &Image)],
        first: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        let files = files(tags);
        Server::start(move |seen| first(seen).unwrap_or_else(|| give(&files, seen)))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests, but for the one that finds out whether there is TLS.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).filter(|line| line != "GET /v2/").collect()
    }
}

pub trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn serve(stream: &mut dyn ReadWrite, known: &Mutex<Vec<Seen>>, handler: &Handler) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(seen) = read_request(&mut stream, known)? else { return Ok(()) };
        known.lock().unwrap().push(seen.clone());
        if !handler(&seen).send(&seen, stream.get_mut())? {
            return Ok(());
        }
    }
}

fn read_request(stream: &mut impl BufRead, known: &Mutex<Vec<Seen>>) -> io::Result<Option<Seen>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines[0].split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let pair = |line: &String| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()));
    let headers: Vec<(String, String)> = lines[1..].iter().filter_map(pair).collect();
    let earlier =
        known.lock().unwrap().iter().filter(|seen| (&seen.method, &seen.path) == (&method, &path)).count();
    let mut seen = Seen { method, path, headers, body: Vec::new(), earlier };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body)?;
    Ok(Some(seen))
}

type Files = HashMap<String, (String, Vec<u8>)>;

pub fn files(tags: &[(&str, &Image)]) -> Files {
    let mut files = Files::new();
    for (tag, image) in tags {
        for name in [(*tag).to_owned(), Digest::of(&image.manifest).to_string()] {
            files.insert(format!("/v2/app/manifests/{name}"), (MANIFEST.into(), image.manifest.clone()));
        }
        for blob in image.layers.iter().chain([&image.config]) {
            let kind = "application/octet-stream".to_owned();
            files.insert(format!("/v2/app/blobs/{}", Digest::of(blob)), (kind, blob.clone()));
        }
    }
    files
}

/// As a registry should.
pub fn give(files: &Files, seen: &Seen) -> Reply {
    if seen.path == "/v2/" {
        return Reply::ok("application/json", "{}");
    }
    let Some((kind, bytes)) = files.get(&seen.path) else {
        return Reply::status(404, r#"{"errors":[{"code":"UNKNOWN","message":"no such thing"}]}"#);
    };
    let digest = Digest::of(bytes).to_string();
    match range(seen) {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::status(206, &bytes[from..]).header("Content-Range", &range)
        }
        None => Reply::ok(kind, bytes.clone()).header("Docker-Content-Digest", &digest),
    }
}

/// Where a range begins.
pub fn range(seen: &Seen) -> Option<usize> {
    seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The path of a blob.
pub fn blob_path(bytes: &[u8]) -> String {
    format!("/v2/app/blobs/{}", Digest::of(bytes))
}
