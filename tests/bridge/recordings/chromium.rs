//! A link in a browser's `<audio>`, as Acquire's users hear it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::support::real::left_out;

/// Starting a browser takes seconds, and many on a busy machine.
const WAIT_LIMIT: Duration = Duration::from_secs(90);

const SAMPLES_PER_SECOND: u32 = 8_000;

/// Two seconds of a tone: PCM, one channel, 8 bits.
fn wav() -> Vec<u8> {
    let samples: Vec<u8> = (0..SAMPLES_PER_SECOND * 2)
        .map(|at| if at / 10 % 2 == 0 { 96 } else { 160 })
        .collect();
    let size = u32::try_from(samples.len()).expect("a small file");
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + size).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(SAMPLES_PER_SECOND.to_le_bytes());
    bytes.extend(SAMPLES_PER_SECOND.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(8_u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(size.to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// Plays to the end, then the last half second once more, and reports the outcome.
fn page(link: &str) -> String {
    r#"<!doctype html><meta charset="utf-8"><title>a recording</title>
<audio id="audio" src="LINK" autoplay muted></audio>
<script>
const report = text => fetch("/outcome?" + encodeURIComponent(text));
let plays = 0;
audio.onerror = () => report("error " + audio.error.code + " " + audio.error.message);
audio.onended = () => {
  plays += 1;
  if (plays === 1) { audio.currentTime = 1.5; audio.play(); return; }
  report("ended " + audio.duration.toFixed(1) + " " + audio.currentTime.toFixed(1));
};
</script>"#
        .replace("LINK", &link.replace('&', "&amp;"))
}

/// Killed when dropped.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(url: &str, profile: &std::path::Path) -> std::io::Result<Browser> {
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-extensions"])
        .args(["--no-first-run", "--no-default-browser-check"])
        .args(["--mute-audio", "--disable-audio-output"])
        .args(["--autoplay-policy=no-user-gesture-required"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(Browser)
}

#[test]
fn a_browser_plays_a_link() {
    let (bridge, api) = bridge(Gives::Recording("audio/x-wav", wav()), &[]);
    let link = format!("http://{}{}", bridge.public(), target(&bridge));
    api.shows(page(&link));
    let profile = tempfile::tempdir().expect("a folder");
    let page = format!("{}/page", api.url());
    let browser = match open(&page, profile.path()) {
        Ok(browser) => browser,
        Err(why) => {
            left_out(&format!(
                "a_browser_plays_a_link ({why}): apt-get install chromium"
            ));
            return;
        }
    };
    let until = Instant::now() + WAIT_LIMIT;
    let outcome = loop {
        let asked = api.asked();
        let outcome = asked
            .iter()
            .find_map(|asked| asked.line.strip_prefix("GET /outcome?"));
        if let Some(outcome) = outcome {
            break outcome.to_owned();
        }
        assert!(
            Instant::now() < until,
            "the browser reported nothing: {asked:?}"
        );
        std::thread::yield_now();
    };
    drop(browser);
    assert_eq!(outcome, "ended%202.0%202.0 HTTP/1.1");
    let ranges = api
        .asked()
        .iter()
        .filter(|asked| asked.header("range").is_some())
        .count();
    assert!(ranges > 0, "a browser asks for ranges: {:?}", api.asked());
}
