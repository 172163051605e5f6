//! The scripted model server as a program: `model-server [--port N] [--scenario NAME] [--dir DIR] [--log FILE]`.
//! Prints its base URL in one line and serves until it is killed.

#[path = "mod.rs"]
mod model_server;

use std::process::ExitCode;

use model_server::{ModelServer, Options};

const USAGE: &str = "usage: model-server [--port N] [--scenario NAME] [--dir DIR] [--log FILE]";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]
fn main() -> ExitCode {
    let server = options(std::env::args().skip(1)).and_then(|o| ModelServer::start(o).map_err(|e| e.to_string()));
    match server {
        Ok(server) => {
            println!("http://127.0.0.1:{}", server.port());
            loop {
                std::thread::park();
            }
        }
        Err(why) => {
            eprintln!("model-server: {why}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(name) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match name.as_str() {
            "--port" => options.port = value.parse().map_err(|e| format!("--port {value}: {e}"))?,
            "--scenario" => options.scenario = value,
            "--dir" => options.dir = Some(value.into()),
            "--log" => options.log = Some(value.into()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    model_server::check_scenario(&options.scenario)?;
    Ok(options)
}
