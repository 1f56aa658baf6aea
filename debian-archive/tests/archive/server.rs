//! A mirror on loopback: files by path, counted requests, answers that break off.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Default)]
pub struct Files {
    pub files: HashMap<String, Vec<u8>>,
    /// What was asked for, and with which status it was answered.
    pub requests: Vec<(String, u16)>,
    /// After so many bytes of a body the next connections are closed.
    pub break_after: Vec<usize>,
    /// Nobody is answered.
    pub away: bool,
}

pub struct Mirror {
    pub url: String,
    pub content: Arc<Mutex<Files>>,
}

impl Mirror {
    pub fn start() -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let content = Arc::new(Mutex::new(Files::default()));
        let served = content.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                thread::spawn(move || answer(stream, &served));
            }
        });
        Mirror { url, content }
    }

    pub fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.content.lock().unwrap().files.insert(path.to_owned(), content.into());
    }

    /// What was asked for since the last time.
    pub fn requests(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.content.lock().unwrap().requests)
    }
}

fn answer(stream: TcpStream, served: &Mutex<Files>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.strip_prefix("/debian/")?.to_owned();
    let (mut known, mut from) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let lower = line.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(tag) = lower.strip_prefix("if-none-match: ") {
            known = tag.to_owned();
        }
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok()?;
        }
    }
    let mut served = served.lock().unwrap();
    if served.away {
        return None;
    }
    let content = served.files.get(&path).cloned();
    let tag = format!(
        "\"{}\"",
        content.as_ref().map_or(0, |content| content
            .iter()
            .fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)))
    );
    let status = match &content {
        None => 404,
        Some(_) if known == tag => 304,
        Some(_) if from > 0 => 206,
        Some(_) => 200,
    };
    served.requests.push((path, status));
    let mut body =
        if status == 404 || status == 304 { Vec::new() } else { content.unwrap_or_default().split_off(from) };
    let whole = body.len();
    if whole > 1000
        && let Some(end) = served.break_after.pop()
    {
        body.truncate(end);
    }
    drop(served);
    let range = format!("Content-Range: bytes {from}-/{}\r\n", from + whole);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nETag: {tag}\r\nContent-Length: {whole}\r\n{}Connection: close\r\n\r\n",
        if status == 206 { &range } else { "" }
    )
    .ok()?;
    stream.write_all(&body).ok()
}
