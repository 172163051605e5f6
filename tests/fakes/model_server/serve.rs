//! One connection: requests in, scripted answers out, and the bill.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Asked, Billed, Stop};
use super::http::{self, Body, Request};
use super::scenario::{Quirk, Scenario};
use super::{Shared, TICK, anthropic, chat, gemini, responses, script};

/// What the model says when it is done.
const FINAL: &str = "All done: the file is written.";
/// Bytes before the first interruption.
const FIRST_WORDS: usize = 8;
/// How long `late_usage` waits before it tells.
const LATE: Duration = Duration::from_millis(300);

/// The four APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Anthropic,
    Responses,
    Chat,
    Gemini,
}

/// One call under way.
struct Call<'a> {
    shared: &'a Shared,
    run: &'a str,
    api: Api,
    scenario: Scenario,
    asked: Asked,
    answer: Answer,
    /// What the whole answer costs.
    bill: Billed,
}

/// Serves a connection to its end.
pub fn connection(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    let mut reader = BufReader::new(stream);
    while waits_for_more(shared, &mut reader)? {
        reader.get_ref().set_read_timeout(Some(Duration::from_secs(30)))?;
        let Some(request) = http::read(&mut reader)? else { break };
        reader.get_ref().set_read_timeout(Some(TICK))?;
        shared.saw(&request);
        let goes_on = request_done(shared, &request, reader.get_mut())?;
        if !(goes_on && request.keeps_alive) {
            break;
        }
    }
    Ok(())
}

/// Waits for the first byte of the next request; false where none will come.
fn waits_for_more(shared: &Shared, reader: &mut BufReader<TcpStream>) -> io::Result<bool> {
    loop {
        match reader.fill_buf() {
            Ok(bytes) => return Ok(!bytes.is_empty()),
            Err(error) if is_tick(&error) && !shared.stopped() => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Answers one request; false where the connection must end.
fn request_done(shared: &Shared, request: &Request, stream: &mut TcpStream) -> io::Result<bool> {
    let plain = request.path.split('?').next().unwrap_or_default();
    let own = format!("{}/default", shared.options.scenario);
    let (run, path) = scoped(plain).unwrap_or((&own, plain));
    let name = run.split('/').next().unwrap_or_default();
    let send =
        |stream: &mut TcpStream, status, body: Value| http::answer(stream, status, &[], body.to_string().as_bytes());
    let api = match (request.method.as_str(), path) {
        ("POST", path) if path.contains("count_tokens") || path.contains(":countTokens") => None,
        ("POST", path) if path.ends_with("/messages") => Some(Api::Anthropic),
        ("POST", path) if path.ends_with("/responses") => Some(Api::Responses),
        ("POST", path) if path.ends_with("/chat/completions") => Some(Api::Chat),
        ("POST", path) if path.ends_with("enerateContent") => Some(Api::Gemini),
        ("GET", "/count") => return send(stream, 200, shared.change(run, |_| ()).json()).map(|()| true),
        ("HEAD", _) => return http::answer(stream, 200, &[], b"").map(|()| true),
        _ => None,
    };
    let Some(api) = api else { return send(stream, 200, other(path)).map(|()| true) };
    let scenario = match Scenario::of(name) {
        Ok(scenario) => scenario,
        Err(why) => return send(stream, 404, json!({"error": {"message": why}})).map(|()| true),
    };
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return send(stream, 400, failure(api, 400, "the body is no JSON")).map(|()| true);
    };
    let asked = read(api, path, &body);
    let number = shared.change(run, |count| {
        count.requests += 1;
        count.open += 1;
        count.uncapped += u64::from(asked.cap.is_none());
        count.max_cap = count.max_cap.max(asked.cap.unwrap_or(0));
    });
    let said = json!({"run": run, "path": path, "request": number.requests, "model": asked.model, "cap": asked.cap,
        "stream": asked.streams, "results": asked.results, "bytes": request.body.len()});
    shared.say(&said);
    let call = prepared(shared, run, api, scenario, asked, request, number.requests, number.calls + 1);
    let done = call.serve(stream, number.requests);
    shared.change(run, |count| count.open -= 1);
    done.map(|whole| whole && !call.scenario.close)
}

/// `<scenario>/<run>` and the API's own path.
fn scoped(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/s/")?;
    let run = rest.find('/').map(|at| at + 1)?;
    let end = rest[run..].find('/').map_or(rest.len(), |at| run + at);
    Some((&rest[..end], &rest[end..]))
}

/// Lists of models and counts of tokens.
fn other(path: &str) -> Value {
    if path.contains("/models") && !path.contains(':') {
        return json!({"object": "list", "data": [{"id": "test-model", "object": "model"}], "models": []});
    }
    json!({"input_tokens": 1234, "totalTokens": 1234})
}

fn read(api: Api, path: &str, body: &Value) -> Asked {
    match api {
        Api::Anthropic => anthropic::read(body),
        Api::Responses => responses::read(body),
        Api::Chat => chat::read(body),
        Api::Gemini => gemini::read(path, body),
    }
}

fn failure(api: Api, status: u16, message: &str) -> Value {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    match api {
        Api::Anthropic => anthropic::error(kind, message),
        Api::Responses | Api::Chat => responses::error(kind, message),
        Api::Gemini => gemini::error(status, message),
    }
}

#[expect(clippy::too_many_arguments, reason = "the one place where a request becomes a call")]
fn prepared<'a>(
    shared: &'a Shared,
    run: &'a str,
    api: Api,
    scenario: Scenario,
    asked: Asked,
    request: &Request,
    request_number: u64,
    call_number: u64,
) -> Call<'a> {
    let body = String::from_utf8_lossy(&request.body);
    let dir = shared.options.dir.as_ref().map(|dir| {
        let own = dir.join(run.split('/').nth(1).unwrap_or_default());
        if own.is_dir() { own } else { dir.clone() }
    });
    let wanted = scenario.step(asked.results).filter(|_| !asked.wants_json);
    let call = wanted.and_then(|step| script::call(step, &asked, &body, dir.as_deref()));
    let (bill, cut_short) = priced(api, &scenario, &asked, request.body.len(), call_number);
    let call = call.filter(|_| !cut_short);
    let stop = if cut_short {
        Stop::Cap
    } else if call.is_some() {
        Stop::Tool
    } else {
        Stop::Done
    };
    let tells = scenario.quirk != Quirk::NoUsage && asked.wants_usage;
    let answer = Answer {
        id: format!("{}{request_number:05}", run.replace('/', "_")),
        model: asked.model.clone(),
        text: said(&scenario, &asked, call.is_some()),
        call,
        stop,
        usage: tells.then_some(bill),
        early: scenario.quirk != Quirk::LateUsage,
    };
    Call { shared, run, api, scenario, asked, answer, bill }
}

fn said(scenario: &Scenario, asked: &Asked, calls: bool) -> String {
    let text = match scenario.quirk {
        _ if asked.wants_json => r#"{"reasoning":"x","next_speaker":"user","complexity_score":10,"ok":true}"#,
        _ if calls && scenario.talks => "I will write the file.",
        _ if calls => "",
        _ if asked.tools.is_empty() => "A title of some words",
        _ => FINAL,
    };
    text.to_owned()
}

/// What the answer costs, and whether the cap cut it short.
fn priced(api: Api, scenario: &Scenario, asked: &Asked, bytes: usize, number: u64) -> (Billed, bool) {
    let anthropic = api == Api::Anthropic;
    let mut bill = Billed::of_call(number, bytes, anthropic, !anthropic);
    let cap = asked.cap.unwrap_or(u64::MAX);
    let wanted = bill.output;
    match scenario.quirk {
        Quirk::Larger => return (bill.with_output(asked.cap.unwrap_or(wanted).saturating_mul(2) + number), false),
        Quirk::Dense => bill = Billed { input: bytes as u64, ..bill },
        _ => {}
    }
    (bill.with_output(wanted.min(cap)), wanted > cap)
}

impl Call<'_> {
    /// Answers; false where the connection must end.
    fn serve(&self, stream: &mut TcpStream, number: u64) -> io::Result<bool> {
        match self.scenario.quirk {
            Quirk::Status { status, times } if number <= times => self.refuse(stream, status).map(|()| true),
            Quirk::Close => Ok(false),
            Quirk::StallHead => {
                self.bill_part(0);
                self.hold(stream);
                Ok(false)
            }
            _ if self.asked.streams => self.stream(stream),
            _ => self.send_whole(stream),
        }
    }

    fn refuse(&self, stream: &mut TcpStream, status: u16) -> io::Result<()> {
        self.shared.change(self.run, |count| count.refused += 1);
        let body = failure(self.api, status, &format!("scripted {status}")).to_string();
        let after: &[_] = if status == 429 { &[("retry-after", "1")] } else { &[] };
        http::answer(stream, status, after, body.as_bytes())
    }

    fn send_whole(&self, stream: &mut TcpStream) -> io::Result<bool> {
        match self.scenario.quirk {
            Quirk::Slow(pause) => sleep(pause),
            Quirk::LateUsage => sleep(LATE),
            _ => {}
        }
        let document = match self.api {
            Api::Anthropic => anthropic::document(&self.answer),
            Api::Responses => responses::document(&self.answer),
            Api::Chat => chat::document(&self.answer),
            Api::Gemini => gemini::document(&self.answer),
        }
        .to_string();
        match self.scenario.quirk {
            Quirk::Stall | Quirk::Cut if self.scenario.whole => return Ok(self.send_half(stream, &document)),
            Quirk::Garbage if self.scenario.whole => {
                self.bill_whole();
                return http::answer(stream, 200, &[], b"{{{not json").map(|()| true);
            }
            _ => {}
        }
        self.bill_whole();
        http::answer(stream, 200, &[], document.as_bytes()).map(|()| true)
    }

    /// Half of a document, and then nothing or the end of the connection.
    fn send_half(&self, stream: &mut TcpStream, document: &str) -> bool {
        self.bill_part(self.bill.output / 2);
        drop(http::half(stream, document.as_bytes()));
        if self.scenario.quirk == Quirk::Stall {
            self.hold(stream);
        }
        false
    }

    fn bill_part(&self, output: u64) {
        self.shared.bill(self.run, &self.asked.model, self.bill.with_output(output.min(self.bill.output)));
    }

    fn bill_whole(&self) {
        self.shared.bill(self.run, &self.asked.model, self.bill);
    }

    fn stream(&self, stream: &mut TcpStream) -> io::Result<bool> {
        let mut body = Body::begin(stream, !self.scenario.close)?;
        match self.events(&mut body) {
            Ok(true) => body.end().map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => {
                self.bill_part(self.bill.output / 2);
                Err(error)
            }
        }
    }

    /// The events of the answer; false where they end too early. Bills before the last of them, so that who has read
    /// the answer finds it counted.
    fn events(&self, body: &mut Body<'_>) -> io::Result<bool> {
        let quirk = self.scenario.quirk;
        self.put(body, &self.opening())?;
        if quirk == Quirk::Garbage {
            self.bill_whole();
            drop(body.write("data: {{{not json\n\n"));
            return Ok(false);
        }
        let (first, rest) = self.answer.text.split_at(FIRST_WORDS.min(self.answer.text.len()));
        self.put(body, &self.delta(first))?;
        if matches!(quirk, Quirk::Cut | Quirk::Stall) {
            self.bill_part(self.bill.output / 2);
            if quirk == Quirk::Stall {
                self.hold(body.stream());
            }
            return Ok(false);
        }
        self.put(body, &self.delta(rest))?;
        self.put(body, &self.closing())?;
        if quirk == Quirk::LateUsage {
            sleep(LATE);
        }
        let ending = self.ending();
        self.bill_whole();
        drop(body.write(&ending)); // billed in full, whether or not the client stays for the end
        Ok(true)
    }

    fn put(&self, body: &mut Body<'_>, events: &str) -> io::Result<()> {
        if let Quirk::Slow(pause) = self.scenario.quirk {
            for event in events.split_inclusive("\n\n") {
                sleep(pause);
                body.write(event)?;
            }
            return Ok(());
        }
        body.write(events)
    }

    fn opening(&self) -> String {
        match self.api {
            Api::Anthropic => anthropic::opening(&self.answer),
            Api::Responses => responses::opening(&self.answer),
            Api::Chat => chat::opening(&self.answer),
            Api::Gemini => String::new(),
        }
    }

    fn delta(&self, text: &str) -> String {
        match self.api {
            _ if text.is_empty() => String::new(),
            Api::Anthropic => anthropic::delta(text),
            Api::Responses => responses::delta(&self.answer, text),
            Api::Chat => chat::delta(&self.answer, text),
            Api::Gemini => gemini::delta(&self.answer, text),
        }
    }

    fn closing(&self) -> String {
        match self.api {
            Api::Anthropic => anthropic::closing(&self.answer),
            Api::Responses => responses::closing(&self.answer),
            Api::Chat => chat::closing(&self.answer),
            Api::Gemini => String::new(),
        }
    }

    fn ending(&self) -> String {
        match self.api {
            Api::Anthropic => anthropic::ending(&self.answer),
            Api::Responses => responses::ending(&self.answer),
            Api::Chat => chat::ending(&self.answer),
            Api::Gemini => gemini::ending(&self.answer),
        }
    }

    /// Says nothing until the client goes or the server is stopped.
    fn hold(&self, stream: &mut TcpStream) {
        let mut byte = [0];
        while !self.shared.stopped() {
            match stream.read(&mut byte) {
                Ok(0) => return,
                Err(error) if !is_tick(&error) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}
