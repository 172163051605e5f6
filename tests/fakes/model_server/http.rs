//! As much of HTTP/1.1 as clients of model APIs need: requests with a length or in chunks, kept-alive connections,
//! answers with a length, in chunks, or up to the end of the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// The largest body that is read.
const BODY_MAX: u64 = 256 << 20;

/// One request.
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection serves another request after this one.
    pub keeps_alive: bool,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a request; none where the client is gone.
pub fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let first = line(stream)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let (method, path, newer) = (method.to_owned(), path.to_owned(), version == "HTTP/1.1");
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new(), keeps_alive: newer };
    let wants = |name: &str, word: &str| request.header(name).is_some_and(|v| v.to_ascii_lowercase().contains(word));
    let (chunked, closes) = (wants("transfer-encoding", "chunked"), wants("connection", "close"));
    if wants("expect", "100-continue") {
        stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.keeps_alive = newer && !closes;
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = if chunked { chunks(stream)? } else { exactly(stream, length)? };
    Ok(Some(request))
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.take(64 << 10).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn exactly(stream: &mut BufReader<TcpStream>, length: u64) -> io::Result<Vec<u8>> {
    if length > BODY_MAX {
        return Err(io::Error::other("body too large"));
    }
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(body) }
}

fn chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !line(stream)?.is_empty() {}
            return Ok(body);
        }
        body.extend(exactly(stream, size)?);
        line(stream)?;
    }
}

/// Writes a whole answer.
pub fn answer(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    let mut head = head(status, headers);
    head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()));
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// Writes an answer that lacks its second half.
pub fn half(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let mut head = head(200, &[("content-type", "application/json")]);
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat())
}

fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// A body that is written as it comes.
pub struct Body<'a> {
    stream: &'a mut TcpStream,
    chunked: bool,
}

impl<'a> Body<'a> {
    /// Writes the head of an event stream.
    pub fn begin(stream: &'a mut TcpStream, chunked: bool) -> io::Result<Self> {
        let how = if chunked { ("transfer-encoding", "chunked") } else { ("connection", "close") };
        let head =
            head(200, &[("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), how]);
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        Ok(Self { stream, chunked })
    }

    /// Writes one piece.
    pub fn write(&mut self, piece: &str) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.chunked {
            return self.stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
        }
        self.stream.write_all(piece.as_bytes())
    }

    /// The regular end.
    pub fn end(self) -> io::Result<()> {
        if self.chunked { self.stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }

    /// The connection, to wait for its end.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream
    }
}
