//! A link is valid until it expires, and for nothing else.

use proptest::prelude::*;

use super::*;
use crate::domain::recording_link::tests::{SECRET, account, recording, signer};

/// The link to recording 2 of account 1 that arrived at 0.
fn link(signer: &LinkSigner) -> String {
    signer.link(&account(1), &recording(2), Millis(0), Millis(0))
}

fn query(link: &str) -> &str {
    link.split_once('?').expect("a query").1
}

#[test]
fn a_link_is_as_documented() {
    // Checked with: printf '...' | openssl dgst -sha256 -hmac SECRET -binary | basenc --base64url
    let at = Millis(1_790_000_000_999);
    assert_eq!(
        signer(&[SECRET]).link(&account(1), &recording(2), at, at),
        "https://bridge.example.com/x/recordings/RE00000000000000000000000000000002\
         ?account=AC00000000000000000000000000000001&expires=1790000060\
         &signature=abOfXNbgllwgKa8MU8xLZkxZJZX_pS2106LcFyz5JUc"
    );
}

#[test]
fn without_a_secret_a_link_is_shown_and_none_is_valid() {
    let signer = signer(&[]);
    let shown = link(&signer);
    assert!(shown.ends_with("/recordings/RE00000000000000000000000000000002"));
    let link = link(&self::signer(&[SECRET]));
    let verified = signer.verify(&recording(2), query(&link), Millis(0));
    assert_eq!(verified, Err(RecordingLinkError::Forged));
}

#[test]
fn a_new_secret_signs_while_links_of_the_old_one_hold() {
    let old = link(&signer(&["the-old-one"]));
    let both = signer(&[SECRET, "the-old-one"]);
    let verified = both.verify(&recording(2), query(&old), Millis(0));
    assert_eq!(verified, Ok(account(1)));
    let new = link(&both);
    assert_eq!(new, link(&signer(&[SECRET])));
}

#[test]
fn what_is_no_query_of_a_link_is_forged() {
    let signer = signer(&[SECRET]);
    let link = link(&signer);
    let good = query(&link);
    for bad in [
        String::new(),
        format!("{good}&x=1"),
        format!("x=1&{good}"),
        format!("{good}="),
        format!("{good}&{good}"),
        good.replace("expires=", "expires=x"),
        good.replace("expires=", "expires=+"),
        good.replace("expires=", "expires=0"),
        good.replace("AC0", "AC1"),
        good.replace("account", "Account"),
        good.split_once("&signature")
            .expect("a signature")
            .0
            .to_owned(),
    ] {
        let verified = signer.verify(&recording(2), &bad, Millis(0));
        assert_eq!(verified, Err(RecordingLinkError::Forged), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_link_is_valid_until_it_expires(
        a: u128, r: u128, arrived in 0..4_000_000_000_000_i64, after in 0..120_000_i64,
    ) {
        let signer = signer(&[SECRET]);
        let link = signer.link(&account(a), &recording(r), Millis(arrived), Millis(arrived));
        let now = Millis(arrived + after);
        let verified = signer.verify(&recording(r), query(&link), now);
        let expires = (arrived + 60_000) / 1_000;
        let expected = if now.0 / 1_000 < expires { Ok(account(a)) } else { Err(RecordingLinkError::Expired) };
        prop_assert_eq!(verified, expected);
    }

    #[test]
    fn a_link_that_is_sent_is_valid_for_half_its_time(
        arrived in 0..4_000_000_000_000_i64, after in 0..1_000_000_000_i64,
    ) {
        let signer = signer(&[SECRET]);
        let now = Millis(arrived + after);
        let link = signer.link(&account(1), &recording(2), Millis(arrived), now);
        let valid_at = |seconds| {
            let at = now.plus(Duration::from_secs(seconds));
            signer.verify(&recording(2), query(&link), at).is_ok()
        };
        prop_assert!(valid_at(29));
        prop_assert!(!valid_at(60));
        let again = signer.link(&account(1), &recording(2), Millis(arrived), now);
        prop_assert_eq!(link, again);
    }

    #[test]
    fn a_link_is_valid_for_no_other_account_recording_time_or_secret(
        a: u128, r: u128, other in 1..=u128::MAX, later in 1..1_000_000_i64,
    ) {
        let signer = signer(&[SECRET]);
        let link = signer.link(&account(a), &recording(r), Millis(0), Millis(0));
        let good = query(&link);
        let forged = |sid: &RecordingSid, query: &str| {
            signer.verify(sid, query, Millis(0)) == Err(RecordingLinkError::Forged)
        };
        prop_assert!(forged(&recording(r ^ other), good));
        let another = account(a ^ other);
        prop_assert!(forged(
            &recording(r), &good.replace(account(a).as_str(), another.as_str()),
        ));
        let longer = format!("expires={}&", 60 + later);
        prop_assert!(forged(&recording(r), &good.replace("expires=60&", &longer)));
        let by_another = self::signer(&["another"])
            .link(&account(a), &recording(r), Millis(0), Millis(0));
        prop_assert!(forged(&recording(r), query(&by_another)));
    }

    #[test]
    fn a_changed_signature_is_never_valid(position in 0..43_usize, letter in "[A-Za-z0-9_-]") {
        let signer = signer(&[SECRET]);
        let link = link(&signer);
        let at = link.len() - 43 + position;
        let mut changed = link.clone();
        changed.replace_range(at..=at, &letter);
        prop_assume!(changed != link);
        let verified = signer.verify(&recording(2), query(&changed), Millis(0));
        prop_assert_eq!(verified, Err(RecordingLinkError::Forged));
    }

    #[test]
    fn nothing_else_is_valid(query in ".{0,200}") {
        let verified = signer(&[SECRET]).verify(&recording(2), &query, Millis(0));
        prop_assert_eq!(verified, Err(RecordingLinkError::Forged));
    }
}
