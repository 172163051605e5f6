//! What the gateway makes of an upstream's connection: one that ends without a word, and parts that come when they like.
//! The server is the test's own, so that each byte and each pause is known.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::env::wait_until;
use crate::gateway_world::{CHAT, PATIENCE, World, all};

/// Reads a whole request; None where there is no other.
fn read_request(reader: &mut impl BufRead) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            return reader.read_exact(&mut vec![0; length]).ok();
        }
    }
}

#[test]
fn a_server_that_hangs_up_after_each_answer_fails_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
            let message = json!({"role": "assistant", "content": "done"});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            let usage = json!({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105});
            let body = json!({"object": "chat.completion", "choices": [choice], "usage": usage}).to_string();
            // It does not say so.
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        }
    });
    let world = World::new(&url, all());
    for number in 1..=50 {
        let answer = world.post((CHAT.path)(false), &(CHAT.body)(false));
        assert!(answer.status == 200 && answer.whole, "{answer:?}");
        wait_until("the end of the call", PATIENCE, || world.ends().len() == number);
        let (_, usage, fault) = world.ends().pop().unwrap();
        assert_eq!((usage.tokens(), usage.estimated_tokens, fault), (105, 0, None));
    }
}

#[test]
fn parts_that_are_held_go_on_without_the_next_one() {
    const PARTS: usize = 40;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, was_seen) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for part in 0..PARTS {
            let text = format!("data: part {part:02}\n\n");
            stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
            // The last ones come alone, the others close together.
            thread::sleep(Duration::from_millis(if part + 3 > PARTS { 20 } else { 0 }));
        }
        // Nothing more before the agent has them all.
        was_seen.recv_timeout(PATIENCE).unwrap();
        let last = "data: [DONE]\n\n";
        stream.write_all(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).as_bytes()).unwrap();
    });
    let world = World::with(&url, PATIENCE, all());
    let rest = world.access.base_url.strip_prefix("http://").unwrap();
    let (host, bearer) = rest.split_once('/').unwrap();
    let body = (CHAT.body)(true).to_string();
    let head = format!("POST /{bearer}{} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", (CHAT.path)(true));
    let mut agent = TcpStream::connect(host).unwrap();
    agent.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut text = String::new();
    let mut reader = BufReader::new(agent);
    while !text.contains(&format!("part {}", PARTS - 1)) {
        assert!(reader.read_line(&mut text).unwrap() > 0, "{text}");
    }
    seen.send(()).unwrap();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{text}");
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: part ")).collect();
    let expected: Vec<String> = (0..PARTS).map(|part| format!("{part:02}")).collect();
    assert_eq!(found, expected);
    server.join().unwrap();
}
