//! Chromium by Debian's chromedriver: the few commands of `WebDriver` that the tests of the pages need.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::harness::WAIT_LIMIT;

/// A window of a browser. Closed when dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// An error if chromedriver is not installed.
    pub fn open() -> std::io::Result<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // Read to the end, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self {
            driver,
            address: SocketAddr::from(([127, 0, 0, 1], port.expect("a port"))),
            session: String::new(),
        };
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--no-first-run",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let answer = browser.posts("/session", &wanted);
        answer["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        Ok(browser)
    }

    fn posts(&self, path: &str, body: &Value) -> Value {
        let answer = self.asks("POST", path, &body.to_string());
        answer.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// The driver keeps its connections open, so its answer is read by its length.
    fn asks(&self, method: &str, path: &str, body: &str) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(WAIT_LIMIT))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.address
        )?;
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while stream.read_line(&mut head)? > 2 {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            if let Some(given) = line.strip_prefix("content-length:") {
                length = given.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes)?;
        let mut json: Value = serde_json::from_slice(&bytes)?;
        if !head.contains(" 200 ") {
            return Err(std::io::Error::other(json.to_string()));
        }
        Ok(json["value"].take())
    }

    fn does(&self, command: &str, body: &Value) -> Value {
        self.posts(&format!("/session/{}/{command}", self.session), body)
    }

    /// A command of the `DevTools` protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.does("goog/cdp/execute", &body)
    }

    pub fn goes_to(&self, url: &str) {
        self.does("url", &json!({ "url": url }));
    }

    /// The value of a JavaScript expression.
    pub fn value(&self, expression: &str) -> Value {
        self.runs(&format!("return {expression}"))
    }

    /// The text of the first element that matches.
    pub fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector('{selector}').textContent"));
        text.as_str().expect("text").trim().to_owned()
    }

    /// Clicks as a mouse does, also without script.
    pub fn clicks(&self, selector: &str) {
        self.does(&format!("{}/click", self.element(selector)), &json!({}));
    }

    /// Types into a field, also without script.
    pub fn fills(&self, selector: &str, text: &str) {
        let body = json!({ "text": text });
        self.does(&format!("{}/value", self.element(selector)), &body);
    }

    fn element(&self, selector: &str) -> String {
        let body = json!({ "using": "css selector", "value": selector });
        let element = self.does("element", &body);
        let mut ids = element.as_object().expect("an element").values();
        let id = ids.next().and_then(Value::as_str);
        format!("element/{}", id.expect("an id"))
    }

    pub fn runs(&self, script: &str) -> Value {
        self.does("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The value that a script passes to `done`.
    pub fn awaits(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        self.does("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Presses keys where the focus is.
    pub fn types(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|action| json!({ "type": action, "value": key.to_string() }))
        });
        let strokes: Vec<Value> = strokes.collect();
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": strokes }]);
        self.does("actions", &json!({ "actions": actions }));
    }

    /// The messages of a log since the last call: `browser` or `performance`.
    pub fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.does("se/log", &json!({ "type": kind }));
        entries.as_array().expect("entries").clone()
    }

    /// The whole page as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", &whole);
        let picture = picture["data"].as_str().expect("a picture");
        STANDARD.decode(picture).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes the browser; the driver alone would leave it.
        let _ = self.asks("DELETE", &format!("/session/{}", self.session), "");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
