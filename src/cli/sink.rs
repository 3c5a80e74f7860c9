//! `sink`: runs the fake Acquire in the foreground and prints the requests it receives.
//!
//! The server and its faults are in `debugging/fake_acquire.rs`.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::call_filter::number;
use super::output::note;
use super::{CliError, Exit, private_files};
use crate::app;
use crate::clock::Clock;
use crate::debugging::fake_acquire::{self, CapturedRequest, Faults, Reply, Retain, Share};
use crate::debugging::fake_twilio_api::{FakeCall, FakeTwilioApi};

/// The account of the calls of the fake Twilio API.
const FAKE_ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Requests that may wait to be printed; then the fake Acquire answers more slowly.
const MAX_QUEUED: usize = 10_000;

const MANUAL: &str = "\
Accepts a POST on any path and prints one line for each: time, CallId,
CallStatus and the response. Without --fail each response is that of Acquire:
200 with success true. Ctrl-C ends it.

Faults for --fail, each followed by a colon and its share of the requests, or
alone for all of them:
  503        this status (200 to 599)
  false      200 with success false
  html       200 with an HTML page
  duplicate  400: Acquire already has the call
  invalid    400: the request is invalid
  reset      the connection is closed without a response

Example: 30 % of the requests get 503 and 10 % no response, after 200 ms each.
  twilio-acquire-bridge sink --fail 503:0.3 --fail reset:0.1 --delay 200ms

Send a bridge's requests there with acquire.base_url:
  export BRIDGE__ACQUIRE__BASE_URL=http://127.0.0.1:9099";

/// Run a fake Acquire that prints the requests of a bridge.
#[derive(Debug, clap::Args)]
#[command(after_help = MANUAL)]
pub struct SinkCommand {
    /// Address to listen on; port 0 uses a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// Also run a fake Twilio API that lists this many calls, which ended within the last two hours.
    #[arg(long, value_name = "CALLS", value_parser = number::<u32>)]
    twilio: Option<u32>,
    /// Address of the fake Twilio API; port 0 uses a free port.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9098",
        requires = "twilio"
    )]
    twilio_listen: SocketAddr,
    /// Write each request with its headers to this file, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Fault for a share of the requests, such as 503:0.3 (repeatable).
    #[arg(long, value_name = "FAULT[:SHARE]")]
    fail: Vec<Share>,
    /// Delay of each response, such as 200ms.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0s")]
    delay: Duration,
    /// Answer every request with a 400 that a retry cannot fix.
    #[arg(long)]
    reject: bool,
}

impl SinkCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        // A sum of shares such as 0.1 + 0.2 is not exact.
        if self.fail.iter().map(|share| share.part).sum::<f64>() > 1.0 + f64::EPSILON {
            return Err(CliError::Usage("the shares of --fail exceed 1".to_owned()));
        }
        let log = self
            .log
            .as_deref()
            .map(private_files::replace)
            .transpose()?;
        let _twilio = self
            .twilio
            .map(|calls| self.start_twilio(calls))
            .transpose()?;
        let (sender, requests) = mpsc::sync_channel(MAX_QUEUED);
        let listen = self.listen;
        let sink = fake_acquire::FakeAcquire::start(listen, self.faults(), Retain::Pass(sender))
            .with_context(|| format!("cannot listen on {listen}"))?;
        note!("the fake Acquire listens on {}", sink.base_url());

        let printer = std::thread::spawn(move || print(&requests, io::stdout().lock(), log));
        let stopped = app::block_on(stop_signal());
        // Dropping the sink closes the channel, which ends the printer.
        drop(sink);
        stopped.context("cannot listen for signals")?;
        match printer.join() {
            // The reader of stdout has closed it, as `head` does.
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
            Ok(Err(error)) => Err(anyhow::Error::new(error).context("cannot write").into()),
            Ok(Ok(())) => Ok(Exit::Done),
            Err(_) => Ok(Exit::Failed),
        }
    }

    /// A fake Twilio API with calls that a bridge with these settings finds missing.
    fn start_twilio(&self, calls: u32) -> Result<FakeTwilioApi, CliError> {
        let (listen, clock) = (self.twilio_listen, Clock::system());
        // A new store knows nothing of calls of the day before.
        let (now, hour) = (clock.now(), Duration::from_secs(3_600));
        let first = now.minus(hour * 2).max(now.start_of_day());
        let span = hour.min(now.since(first));
        let api = FakeTwilioApi::start(listen, clock)
            .with_context(|| format!("the fake Twilio cannot listen on {listen}"))?;
        api.with(|records| {
            records.calls.extend((1..=calls).map(|number| {
                let ended = first.plus(span * (number - 1) / calls);
                let sid = format!("CA{:024x}{number:08x}", first.0);
                FakeCall::completed(&sid, FAKE_ACCOUNT, ended)
            }));
        });
        note!("the fake Twilio API lists {calls} calls. To read it, start a bridge with");
        for (key, value) in [
            ("TWILIO_ACCOUNT_SID", FAKE_ACCOUNT),
            ("BRIDGE__TWILIO__API_URL", &api.base_url()),
            ("BRIDGE__TWILIO__MONITOR_URL", &api.base_url()),
            (
                "BRIDGE__TWILIO__API_KEY_SID",
                "SK00000000000000000000000000000001",
            ),
            ("BRIDGE__TWILIO__API_KEY_SECRET", "made-up"),
            ("BRIDGE__RECONCILE__EVERY", "30s"),
            ("BRIDGE__RECONCILE__CALLS", "all"),
        ] {
            note!("  export {key}={value}");
        }
        Ok(api)
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

async fn stop_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// Writes the requests, and flushes whenever the channel is empty.
fn print(
    requests: &Receiver<CapturedRequest>,
    out: impl Write,
    log: Option<File>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let mut log = log.map(BufWriter::new);
    while let Ok(received) = requests.recv() {
        for received in std::iter::once(received).chain(requests.try_iter()) {
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

fn duration(text: &str) -> Result<Duration, String> {
    let given = crate::config::duration::parse(text);
    given.ok_or_else(|| "give a duration such as 200ms or 2s".to_owned())
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
        let (sender, requests) = mpsc::sync_channel(2);
        for body in [body, "no JSON"] {
            sender.send(received(body)).expect("the receiver is open");
        }
        drop(sender);
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        let log = file.reopen().expect("the file can be opened");
        let mut out = Vec::new();
        print(&requests, &mut out, Some(log)).expect("memory can be written");
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
}
