//! Who asks: nobody, a password, a token; and where a password does not go.

use super::registry::{Auth, Registry, Seen, reply};
use super::{COMPONENT, client, client_as, publish};
use crate::credentials::Credentials;
use crate::error::Error;

fn ada(registry: &Registry) -> Credentials {
    Credentials::default().with(&registry.address().to_string(), "ada", "love")
}

#[tokio::test]
async fn a_password_and_a_token_open_what_they_should() {
    for auth in [Auth::Basic("ada:love"), Auth::Bearer(Some("ada:love"))] {
        let registry = Registry::start(auth.clone()).await;
        let pinned = publish(&registry, COMPONENT);
        let pulled = client_as(ada(&registry)).pull(pinned.reference()).await.unwrap();
        assert_eq!(&pulled.component[..], COMPONENT, "{auth:?}");
        let shown = |seen: &Seen| seen.headers.contains_key("authorization");
        assert!(!shown(&registry.seen()[0]), "nothing is shown before it is asked for");
    }
    let registry = Registry::start(Auth::Bearer(None)).await;
    let pinned = publish(&registry, COMPONENT);
    assert!(client().pull(pinned.reference()).await.is_ok(), "a token that everybody gets");
    let asked = registry.requests().iter().filter(|path| path.ends_with("/token")).count();
    assert_eq!(asked, 1, "one token serves the whole pull");
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_told_apart() {
    for auth in [Auth::Basic("ada:love"), Auth::Bearer(Some("ada:love"))] {
        let registry = Registry::start(auth.clone()).await;
        let pinned = publish(&registry, COMPONENT);
        let host = registry.address().to_string();
        let helper = format!(r#"{{"credHelpers": {{"{host}": "pass"}}}}"#);
        let helper = Credentials::from_docker_config(helper.as_bytes()).unwrap();
        let wrong = Credentials::default().with(&host, "ada", "hate");
        let wrong_why = match auth {
            Auth::Basic(_) => "it answers 401: UNAUTHORIZED",
            _ => "its credentials were not accepted",
        };
        for (credentials, why) in [
            (Credentials::default(), "there are no credentials for it"),
            (
                Credentials::default().with("other.example", "ada", "love"),
                "there are no credentials",
            ),
            (helper, "credential helper"),
            (wrong, wrong_why),
        ] {
            let error = client_as(credentials).pull(pinned.reference()).await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{auth:?}: {error}");
            assert!(error.to_string().contains(why), "{auth:?}: {error}");
            assert!(!error.to_string().contains("hate"), "{error}");
        }
        assert!(registry.requests().len() < 20, "no endless asking");
    }
}

/// A registry that challenges everybody with these words.
async fn challenging(challenge: String) -> Registry {
    Registry::with(move |seen| {
        let headers = [("www-authenticate", challenge.as_str())];
        seen.path.starts_with("/v2/").then(|| reply(401, &headers, ""))
    })
    .await
}

#[tokio::test]
async fn credentials_do_not_go_to_a_foreign_realm() {
    let thief = Registry::with(|_| Some(reply(200, &[], r#"{"token":"x"}"#))).await;
    // Another name of loopback is another host, as far as a password is concerned.
    let realm = format!("http://localhost:{}/token", thief.address().port());
    let registry = challenging(format!(r#"Bearer realm="{realm}",service="s""#)).await;
    let reference = registry.reference(":1");
    let error = client_as(ada(&registry)).pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::ForeignRealm { .. }), "{error}");
    assert!(thief.seen().is_empty(), "it was not even asked");
    // Who has no credentials has nothing to lose there.
    let error = client().pull(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert_eq!(thief.seen().len(), 1);
    assert!(!thief.seen()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn challenges_that_cannot_be_met_say_why() {
    for (challenge, why) in [
        (r#"Negotiate"#, "not negotiate"),
        (r#"Bearer service="x""#, "names no realm"),
        (r#"Bearer realm="not an address""#, "it is no address"),
        (r#"Bearer realm="http://auth.example/token""#, "without TLS"),
        (r#"Bearer realm="file:///etc/passwd""#, "it is no address"),
        (r#"Bearer realm="ftp://auth.example/token""#, "neither http nor https"),
        ("", "does not say what it wants"),
    ] {
        let registry = challenging(challenge.to_owned()).await;
        let error = client().pull(&registry.reference(":1")).await.unwrap_err();
        assert!(matches!(error, Error::Challenge { .. }), "{challenge}: {error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_realm_that_answers_nonsense_is_told() {
    for (status, body, why) in [
        (200, "{}", "without a token"),
        (200, r#"{"token":""}"#, "without a token"),
        (200, r#"{"token":"a\nb"}"#, "without a token"),
        (200, "<html>", "without a token"),
        (302, "", "redirects"),
        (500, "", "answers 500 to the request for a token"),
    ] {
        let realm = Registry::with(move |_| Some(reply(status, &[("location", "/x")], body))).await;
        let address = realm.address();
        let registry = challenging(format!(r#"Bearer realm="http://{address}/token?a=b""#)).await;
        let error = client().pull(&registry.reference(":1")).await.unwrap_err();
        assert!(error.to_string().contains(why), "{body}: {error}");
        assert_eq!(realm.seen()[0].query, "a=b&scope=repository%3Ateam%2Fbees%3Apull");
    }
}
