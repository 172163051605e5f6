//! A release's archive, made by the very lines of `docs/ci.md`, where cargo "builds" the binary under test; and a
//! place to download it from.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::{program, root};
use crate::env::Env;

/// The archive of this version, and its SHA-256 as the lines print it.
pub fn release(env: &Env, version: &str) -> (PathBuf, String) {
    let docs = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let section = docs.split("## An archive of your own").nth(1).expect("docs/ci.md says how to make an archive");
    let lines = section.split("```").nth(1).unwrap().trim_start_matches("sh\n").replace("v0.1.0", version);
    let (dir, bin) = (env.path("release"), env.path("release-bin"));
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(&bin).unwrap();
    let file = "target/release/maestro-ci";
    let end = program();
    let cargo = format!("#!/bin/sh\nmkdir -p target/release\ncat > {file} <<'END'\n{end}END\nchmod 755 {file}\n");
    fs::write(bin.join("cargo"), cargo).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let made = Command::new("bash").args(["-euc", &lines]).current_dir(&dir).env("PATH", path).output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(made.status.success(), "{lines}\n{error}");
    let (sum, name) = said.lines().last().and_then(|line| line.split_once("  ")).expect("SUM  NAME");
    (dir.join(name), sum.to_owned())
}

/// Serves the files of a directory on loopback until the test ends; returns its address.
pub fn serve(dir: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = fs::read(dir.join(path)).map_or_else(|_| ("404 No", Vec::new()), |b| ("200 OK", b));
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
        }
    });
    address
}
