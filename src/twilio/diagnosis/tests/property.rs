//! For any request, the diagnosis changes no verdict and shows no signature.

use proptest::prelude::*;

use super::PublicUrl;
use super::induced::{Induced, TOKEN};
use crate::twilio::signature::{Body, SigningKey, fields, sign, verify};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_diagnosis_accepts_nothing_that_plain_verification_refuses(
        entered in r"https?://bridge\.example\.com(:8443)?(/api)?/twilio/voice/status/?(\?email=a%40b)?",
        target in r"(/api)?/twilio/voice/status/?(\?(email=a%40b|email=a@b|x=1))?",
        dropped in 0_usize..40,
        host in prop::option::of("[a-z]{1,8}\\.example"),
    ) {
        let mut induced = Induced { entered, target, ..Induced::none() };
        let pairs: Vec<&str> = induced.signed_form.split('&').collect();
        let kept = pairs.iter().enumerate().filter(|(at, _)| *at != dropped).map(|(_, pair)| *pair);
        induced.body = kept.collect::<Vec<_>>().join("&").into();
        induced.headers.extend(host.map(|host| ("x-forwarded-host", host)));

        let before = induced.is_valid();
        let diagnosis = induced.diagnosis();
        prop_assert_eq!(induced.is_valid(), before);

        // The diagnosis does not contain the expected signature.
        let url = PublicUrl::parse(induced.public_url).expect("a URL").signed_url(&induced.target);
        let form = fields(&induced.body);
        let key = SigningKey::auth_token(TOKEN);
        let expected = sign(&key, &url, Body::Form(&form));
        let message = format!("{diagnosis:?} {} {:?}", diagnosis.sentences(), diagnosis.remedies());
        prop_assert!(!message.contains(&expected) && !message.contains(&induced.right_signature()));

        // The signature is valid for the URL that is named, or for other fields, and never for the
        // request as it arrived.
        if !before {
            prop_assert!(!diagnosis.differences.is_empty());
            prop_assert!(!verify(&[key], &url, Body::Form(&form), &induced.signature()));
        }
    }
}
