//! A human call: who was called by whom, who answered, and when. Nothing here is Twilio's.

/// Seconds since the call started.
pub type Second = i64;

/// A person whom a leg connects. Numbers distinguish those of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    Customer(u8),
    CustomerOnWhatsapp(u8),
    /// A customer behind a carrier, an SBC or a PBX.
    CustomerOnSip(u8),
    CustomerWithheld,
    /// A number of the account.
    OwnNumber,
    OwnWhatsapp,
    Softphone(u8),
    DeskPhone(u8),
    /// An agent who is called at a phone number.
    Mobile(u8),
    /// The `To` of a softphone's own leg, which is empty.
    Unnamed,
}

/// Who has an address, as the operator's settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Internal,
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SipSetting {
    Unset,
    Hosts,
    All,
}

impl Person {
    pub fn address(self) -> String {
        match self {
            Self::Customer(n) => format!("+1202555012{n}"),
            Self::CustomerOnWhatsapp(n) => format!("whatsapp:+1202555013{n}"),
            Self::CustomerOnSip(0) => "sip:+12025550140@SBC.example.net:5060".to_owned(),
            Self::CustomerOnSip(n) => {
                format!("sip:+1202555014{n}@sbc.example.net;transport=tls")
            }
            Self::CustomerWithheld | Self::Unnamed => String::new(),
            Self::OwnNumber => "+14045550199".to_owned(),
            Self::OwnWhatsapp => "whatsapp:+14045550199".to_owned(),
            Self::Softphone(n) => format!("client:agent{n}"),
            Self::DeskPhone(n) => format!("sip:desk{n}@voice.example.com"),
            Self::Mobile(n) => format!("+1312555016{n}"),
        }
    }

    /// Addresses of agents start with `client:`, `sip:` or `sips:`, except the SIP addresses of customers.
    pub fn side(self, setting: SipSetting) -> Side {
        match (self, setting) {
            (Self::Softphone(_) | Self::DeskPhone(_), _)
            | (Self::CustomerOnSip(_), SipSetting::Unset) => Side::Internal,
            _ => Side::External,
        }
    }
}

/// What became of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered then.
    Answered(Second),
    Busy,
    NoAnswer,
    Failed,
    Canceled,
}

/// The `?email=` of a leg's callback URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlEmail {
    None,
    Valid(u8),
    Invalid(u8),
}

#[derive(Clone, Debug)]
pub struct Leg {
    /// The leg that dialled it, by its place in [`HumanCall::legs`]; `None`: the first leg.
    pub dialled_by: Option<usize>,
    pub from: Person,
    pub to: Person,
    pub started: Second,
    pub fate: Fate,
    pub ended: Second,
    pub url_email: UrlEmail,
}

/// Who started the first leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Called,
    /// The account's software called.
    Api,
}

/// One call, as its parties know it. The first leg is the first of `legs`; each other was dialled for it.
#[derive(Clone, Debug)]
pub struct HumanCall {
    pub opening: Opening,
    pub legs: Vec<Leg>,
}

impl Leg {
    pub fn answered(&self) -> Option<Second> {
        match self.fate {
            Fate::Answered(at) => Some(at),
            _ => None,
        }
    }

    pub fn talked(&self) -> Second {
        self.answered().map_or(0, |at| self.ended - at)
    }

    /// The `?email=` as it was entered at Twilio.
    pub fn typed_email(&self) -> Option<String> {
        match self.url_email {
            UrlEmail::None => None,
            UrlEmail::Valid(n) => Some(format!("leg{n}@example.com")),
            UrlEmail::Invalid(0) => Some("jane".to_owned()),
            UrlEmail::Invalid(1) => Some("jane calls@example.com".to_owned()),
            UrlEmail::Invalid(_) => Some("a@example.com,b@example.com".to_owned()),
        }
    }
}

/// Groups answered legs by conversation: a leg that joins while another talks is of the same conversation.
/// `legs` are places; the result is in the order of time.
pub fn conversations(call: &HumanCall, legs: &[usize]) -> Vec<Vec<usize>> {
    let answered = |place: &usize| call.legs[*place].answered();
    let mut talks: Vec<usize> = legs
        .iter()
        .copied()
        .filter(|leg| answered(leg).is_some())
        .collect();
    talks.sort_by_key(answered);
    let mut found: Vec<Vec<usize>> = Vec::new();
    for leg in talks {
        let is_with = |others: &&mut Vec<usize>| {
            let mut ends = others.iter().map(|other| call.legs[*other].ended);
            ends.any(|end| answered(&leg).is_some_and(|at| at < end))
        };
        match found.last_mut().filter(is_with) {
            Some(conversation) => conversation.push(leg),
            None => found.push(vec![leg]),
        }
    }
    found
}
