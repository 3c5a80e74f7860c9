//! `sink`: the stand-in for Acquire, in the foreground.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Exit};
use crate::app;
use crate::debugging::fake_acquire::{self, CapturedRequest, Faults, Reply, Retain, Share};

/// So many requests may wait to be printed before the stand-in answers more slowly.
const WAITING: usize = 10_000;

const MANUAL: &str = r"It takes a POST on any path and prints one line for each: time, CallId, CallStatus, and what it
answered. What no fault is given for is answered as Acquire does: 200 with success true.
Ctrl-C ends it.

Faults for --fail: a status (503), false (200 that says success false), html (200 with a page),
duplicate (400 that Acquire has the call already), invalid (another 400), reset (the connection is
closed without an answer); each with its share of the requests after a colon.

Example: three of ten requests get 503, one of ten no answer, each after 200 ms:
  twilio-acquire-bridge sink --fail 503:0.3 --fail reset:0.1 --delay 200ms
and the bridge that is to send there:
  BRIDGE__ACQUIRE__BASE_URL=http://127.0.0.1:9099 twilio-acquire-bridge serve";

/// Stand in for Acquire: take what a bridge sends, show it, and fail as told
#[derive(Debug, clap::Args)]
#[command(after_help = MANUAL)]
pub struct SinkCommand {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// Write each request to this file, one JSON object a line, with all headers as they came
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Answer a share of the requests with a fault, such as 503:0.3 (may be repeated)
    #[arg(long, value_name = "FAULT:SHARE")]
    fail: Vec<Share>,
    /// Wait before each answer, such as 200ms
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "0s")]
    delay: Duration,
    /// Refuse everything with a 400 that trying again cannot help
    #[arg(long)]
    reject: bool,
}

impl SinkCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.fail.iter().map(|share| share.part).sum::<f64>() > 1.0 + f64::EPSILON {
            return Err(CliError::Usage("the shares of --fail exceed 1".to_owned()));
        }
        let log = self
            .log
            .as_ref()
            .map(|path| {
                File::create(path).with_context(|| format!("cannot write {}", path.display()))
            })
            .transpose()?;
        let (pass, passed) = mpsc::sync_channel(WAITING);
        let listen = self.listen;
        let sink = fake_acquire::FakeAcquire::start(listen, self.faults(), Retain::Pass(pass))
            .with_context(|| format!("cannot listen on {listen}"))?;
        eprintln!("the stand-in for Acquire listens on {}", sink.base_url());

        let printer = std::thread::spawn(move || print(&passed, io::stdout().lock(), log));
        let stopped = app::block_on(asked_to_stop());
        // The channel ends with the sink, and the printer with the channel.
        drop(sink);
        stopped.context("cannot listen for signals")?;
        match printer.join() {
            // Who reads our lines has gone, such as `head`.
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
            Ok(Err(error)) => Err(anyhow::Error::new(error).context("cannot write").into()),
            Ok(Ok(())) => Ok(Exit::Done),
            Err(_) => Ok(Exit::Failed),
        }
    }

    fn faults(self) -> Faults {
        Faults {
            shares: self.fail,
            default_reply: if self.reject {
                Reply::Invalid
            } else {
                Reply::Saved
            },
            delay: self.delay,
            ..Faults::default()
        }
    }
}

async fn asked_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        asked = tokio::signal::ctrl_c() => asked,
        _ = terminate.recv() => Ok(()),
    }
}

/// Writes what has arrived, and flushes whenever nothing more waits.
fn print(passed: &Receiver<CapturedRequest>, out: impl Write, log: Option<File>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let mut log = log.map(BufWriter::new);
    while let Ok(received) = passed.recv() {
        for received in std::iter::once(received).chain(passed.try_iter()) {
            writeln!(out, "{}", line(&received))?;
            if let Some(log) = &mut log {
                serde_json::to_writer(&mut *log, &received)?;
                log.write_all(b"\n")?;
            }
        }
        out.flush()?;
        if let Some(log) = &mut log {
            log.flush()?;
        }
    }
    Ok(())
}

fn line(received: &CapturedRequest) -> String {
    let field = |name| {
        let value = received.field(name);
        value.map_or_else(|| "-".to_owned(), |value| value.escape_debug().to_string())
    };
    format!(
        "{} {} {} {}",
        received.time,
        field("CallId"),
        field("CallStatus"),
        received.reply
    )
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| "give a time such as 200ms or 2s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;

    fn received(body: &str) -> CapturedRequest {
        CapturedRequest {
            time: Millis(0),
            method: "POST".to_owned(),
            path: "/api/v1/voip/call-answered".to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_owned(),
            reply: Reply::Status(503),
        }
    }

    #[test]
    fn a_request_is_one_line_and_one_json_object() {
        let body = r#"{"CallId":"CA1\n","CallStatus":"busy"}"#;
        let (pass, passed) = mpsc::sync_channel(2);
        for body in [body, "no JSON"] {
            pass.send(received(body)).expect("someone listens");
        }
        drop(pass);
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        let log = file.reopen().expect("the file can be opened");
        let mut out = Vec::new();
        print(&passed, &mut out, Some(log)).expect("memory can be written");
        assert_eq!(
            String::from_utf8(out).expect("it is text"),
            "1970-01-01T00:00:00.000Z CA1\\n busy 503\n1970-01-01T00:00:00.000Z - - 503\n"
        );
        let log = std::fs::read_to_string(file.path()).expect("the file can be read");
        let first = log.lines().next().expect("there is a line");
        assert_eq!(
            first,
            r#"{"time":"1970-01-01T00:00:00.000Z","method":"POST","path":"/api/v1/voip/call-answered","headers":{"content-type":"application/json"},"body":"{\"CallId\":\"CA1\\n\",\"CallStatus\":\"busy\"}"}"#
        );
        assert_eq!(log.lines().count(), 2);
    }

    #[test]
    fn a_delay_is_read_with_its_unit_and_never_negative() {
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        for text in ["", "200", "-1s", "soon"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }
}
