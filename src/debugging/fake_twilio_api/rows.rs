//! The records of a fake Twilio, as rows with every property of Twilio's specification.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::{Value, json};

use crate::clock::Millis;

/// A row of a list, which has an order.
pub(super) trait ListRow {
    fn at(&self) -> Millis;
    fn sid(&self) -> &str;
    fn json(&self) -> Value;
}

/// A row whose order does not matter.
impl ListRow for Value {
    fn at(&self) -> Millis {
        Millis(0)
    }

    fn sid(&self) -> &str {
        self["sid"].as_str().unwrap_or_default()
    }

    fn json(&self) -> Value {
        self.clone()
    }
}

/// A leg of a call.
#[derive(Clone, Debug)]
pub struct FakeCall {
    pub sid: String,
    pub account: String,
    pub parent: Option<String>,
    pub from: String,
    pub to: String,
    pub direction: &'static str,
    pub status: &'static str,
    /// When it was created.
    pub created: Millis,
    /// `None` while it runs.
    pub ended: Option<Millis>,
    pub duration: Option<u32>,
    /// From when on it is listed.
    pub listed: Millis,
    /// The requests to its callback URL: URL, `CallStatus`, and status of the answer.
    pub requests: Vec<(String, &'static str, u16)>,
}

impl FakeCall {
    /// An inbound call of one minute that was completed at `ended`.
    pub fn completed(sid: &str, account: &str, ended: Millis) -> Self {
        let minute = std::time::Duration::from_secs(60);
        Self {
            sid: sid.to_owned(),
            account: account.to_owned(),
            parent: None,
            from: "+12025550123".to_owned(),
            to: "+12025550199".to_owned(),
            direction: "inbound",
            status: "completed",
            created: ended.minus(minute),
            ended: Some(ended),
            duration: Some(60),
            listed: ended,
            requests: Vec::new(),
        }
    }

    pub(super) fn events(&self) -> Vec<Value> {
        let at = rfc_2822(self.ended.unwrap_or(self.created));
        let requests = self.requests.iter();
        requests
            .map(|(url, call_status, answer)| {
                json!({
                    "request": {
                        "method": "POST",
                        "url": url,
                        "parameters": { "call_sid": self.sid, "call_status": call_status },
                    },
                    "response": {
                        "response_code": answer,
                        "request_duration": 50,
                        "content_type": "text/plain",
                        "response_body": "",
                        "date_created": at,
                    },
                })
            })
            .collect()
    }
}

impl ListRow for FakeCall {
    fn at(&self) -> Millis {
        self.ended.unwrap_or(self.created)
    }

    fn sid(&self) -> &str {
        &self.sid
    }

    fn json(&self) -> Value {
        let path = format!("/2010-04-01/Accounts/{}/Calls/{}", self.account, self.sid);
        let resources = [
            ("events", "Events"),
            ("notifications", "Notifications"),
            ("payments", "Payments"),
            ("recordings", "Recordings"),
            ("siprec", "Siprec"),
            ("streams", "Streams"),
            ("transcriptions", "Transcriptions"),
            (
                "user_defined_message_subscriptions",
                "UserDefinedMessageSubscriptions",
            ),
            ("user_defined_messages", "UserDefinedMessages"),
        ];
        let resources: serde_json::Map<String, Value> = resources
            .iter()
            .map(|(name, part)| ((*name).to_owned(), format!("{path}/{part}.json").into()))
            .collect();
        json!({
            "account_sid": self.account,
            "answered_by": null,
            "api_version": "2010-04-01",
            "caller_name": "",
            "date_created": rfc_2822(self.created),
            "date_updated": rfc_2822(self.ended.unwrap_or(self.created)),
            "direction": self.direction,
            "duration": self.duration.map(|seconds| seconds.to_string()),
            "end_time": self.ended.map(rfc_2822),
            "forwarded_from": null,
            "from": self.from,
            "from_formatted": self.from,
            "group_sid": null,
            "parent_call_sid": self.parent,
            "phone_number_sid": null,
            "price": null,
            "price_unit": "USD",
            "queue_time": "0",
            "sid": self.sid,
            "start_time": rfc_2822(self.created),
            "status": self.status,
            "subresource_uris": resources,
            "to": self.to,
            "to_formatted": self.to,
            "trunk_sid": null,
            "uri": format!("{path}.json"),
        })
    }
}

/// A recording of a leg.
#[derive(Clone, Debug)]
pub struct FakeRecording {
    pub sid: String,
    pub account: String,
    pub call: String,
    pub created: Millis,
    pub duration: u32,
    pub status: &'static str,
}

impl ListRow for FakeRecording {
    fn at(&self) -> Millis {
        self.created
    }

    fn sid(&self) -> &str {
        &self.sid
    }

    fn json(&self) -> Value {
        let path = format!(
            "/2010-04-01/Accounts/{}/Recordings/{}",
            self.account, self.sid
        );
        json!({
            "account_sid": self.account,
            "api_version": "2010-04-01",
            "call_sid": self.call,
            "conference_sid": null,
            "date_created": rfc_2822(self.created),
            "date_updated": rfc_2822(self.created),
            "start_time": rfc_2822(self.created),
            "duration": self.duration.to_string(),
            "sid": self.sid,
            "price": null,
            "price_unit": "USD",
            "status": self.status,
            "channels": 1,
            "source": "DialVerb",
            "error_code": null,
            "uri": format!("{path}.json"),
            "encryption_details": null,
            "subresource_uris": {
                "add_on_results": format!("{path}/AddOnResults.json"),
                "transcriptions": format!("{path}/Transcriptions.json"),
            },
            "media_url": format!("https://api.twilio.com{path}"),
        })
    }
}

/// An alert about a callback that failed.
#[derive(Clone, Debug)]
pub struct FakeAlert {
    pub sid: String,
    pub account: String,
    pub call: String,
    pub at: Millis,
    /// The callback URL.
    pub url: String,
    /// The form as it was sent.
    pub form: String,
}

impl FakeAlert {
    /// As it is listed: without the request.
    pub(super) fn row(&self, base: &str) -> Value {
        json!({
            "account_sid": self.account,
            "alert_text": "sourceComponent=14100&httpResponse=502",
            "api_version": "2010-04-01",
            "date_created": self.at.to_string(),
            "date_generated": self.at.to_string(),
            "date_updated": self.at.to_string(),
            "error_code": "15003",
            "log_level": "warning",
            "more_info": "https://www.twilio.com/docs/errors/15003",
            "request_method": "POST",
            "request_url": self.url,
            "resource_sid": self.call,
            "sid": self.sid,
            "url": format!("{base}/v1/Alerts/{}", self.sid),
            "service_sid": null,
        })
    }

    /// As it is fetched by its SID.
    pub(super) fn details(&self, base: &str) -> Value {
        let mut row = self.row(base);
        row["request_variables"] = self.form.as_str().into();
        row["request_headers"] = "".into();
        row["response_headers"] = "".into();
        row["response_body"] = "".into();
        row
    }
}

/// A phone number.
pub(super) fn number_row(account: &str, place: usize, number: &str, callback: &str) -> Value {
    let sid = format!("PN{place:032x}");
    let path = format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}");
    json!({
        "account_sid": account,
        "address_sid": null,
        "address_requirements": "none",
        "api_version": "2010-04-01",
        "beta": false,
        "capabilities": { "mms": true, "sms": true, "voice": true, "fax": false },
        "date_created": rfc_2822(Millis(0)),
        "date_updated": rfc_2822(Millis(0)),
        "friendly_name": number,
        "identity_sid": null,
        "phone_number": number,
        "origin": "twilio",
        "sid": sid,
        "sms_application_sid": null,
        "sms_fallback_method": "POST",
        "sms_fallback_url": "https://voice.example.com/sms",
        "sms_method": "POST",
        "sms_url": "https://voice.example.com/sms",
        "status_callback": callback,
        "status_callback_method": "POST",
        "trunk_sid": null,
        "uri": format!("{path}.json"),
        "voice_receive_mode": "voice",
        "voice_application_sid": null,
        "voice_caller_id_lookup": false,
        "voice_fallback_method": "POST",
        "voice_fallback_url": "https://voice.example.com/fallback",
        "voice_method": "POST",
        "voice_url": "https://voice.example.com/voice",
        "emergency_status": "Inactive",
        "emergency_address_sid": null,
        "emergency_address_status": "unregistered",
        "bundle_sid": null,
        "status": "in-use",
        "type": "local",
        "subresource_uris": { "assigned_add_ons": format!("{path}/AssignedAddOns.json") },
    })
}

fn rfc_2822(at: Millis) -> String {
    let time = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let zoned = time.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    rfc2822::to_string(&zoned).unwrap_or_default()
}
