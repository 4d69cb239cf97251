//! A gateway's way to a policy: from the store, from the registry, with and without a key.

use std::fs;

use super::registry::{Auth, Registry, reply};
use super::signing::{good, pair, store as store_signatures};
use super::{COMPONENT, client, directory, other_component, publish};
use crate::digest::Digest;
use crate::error::Error;
use crate::fetch::Fetcher;
use crate::reference::Pinned;
use crate::store::{STORE_BYTES, Store};

fn fetcher(directory: &std::path::Path) -> Fetcher {
    Fetcher::new(client(), Some(Store::open(directory, STORE_BYTES).unwrap()))
}

fn is_kept(fetcher: &Fetcher, pinned: &Pinned) -> bool {
    fetcher.look(pinned, None).component.is_some()
}

/// The same reference at a registry that is down: its port was given back.
fn down(pinned: &Pinned) -> Pinned {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reference: crate::Reference = format!("oci://{gone}/team/bees:1").parse().unwrap();
    reference.pin(pinned.digest())
}

#[tokio::test]
async fn what_was_pulled_once_is_there_when_the_registry_is_not() {
    let directory = directory("down");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    assert!(!is_kept(&fetcher(&directory), &pinned));
    let first = fetcher(&directory).fetch(&pinned, None, &[]).await.unwrap();
    assert_eq!((&first.component[..], first.was_kept, first.is_signed), (COMPONENT, false, false));
    assert!(first.notes.is_empty(), "{:?}", first.notes);
    let asked = registry.requests().len();
    let second = fetcher(&directory).fetch(&down(&pinned), None, &[]).await.unwrap();
    assert_eq!((&second.component[..], second.was_kept), (COMPONENT, true));
    assert_eq!(registry.requests().len(), asked, "a digest does not age");
    assert!(is_kept(&fetcher(&directory), &pinned));
    let error = Fetcher::new(client(), None).fetch(&down(&pinned), None, &[]).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "without a store: {error}");
}

#[tokio::test]
async fn a_damaged_store_is_healed_from_the_registry() {
    let directory = directory("healed");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    fetcher(&directory).fetch(&pinned, None, &[]).await.unwrap();
    let blobs = directory.join("blobs/sha256");
    for digest in [Digest::of(COMPONENT), pinned.digest()] {
        fs::write(blobs.join(digest.hex()), "damaged").unwrap();
        let error = fetcher(&directory).fetch(&down(&pinned), None, &[]).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "never the damaged one: {error}");
        let healed = fetcher(&directory).fetch(&pinned, None, &[]).await.unwrap();
        assert_eq!((&healed.component[..], healed.was_kept), (COMPONENT, false));
        let kept = fetcher(&directory).fetch(&down(&pinned), None, &[]).await.unwrap();
        assert!(kept.was_kept);
    }
    fs::write(blobs.join(pinned.digest().hex()), "damaged").unwrap();
    let noted = fetcher(&directory).fetch(&pinned, None, &[]).await.unwrap();
    assert!(noted.notes[0].contains("was damaged"), "{:?}", noted.notes);
}

#[tokio::test]
async fn a_store_that_takes_nothing_costs_no_policy() {
    let directory = directory("full");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let small = Store::open(&directory, 4).unwrap();
    let (key, public) = pair();
    store_signatures(&registry, &pinned, &[good(&key, &pinned)]);
    let fetcher = Fetcher::new(client(), Some(small));
    fs::remove_dir(directory.join("signatures")).unwrap();
    let fetched = fetcher.fetch(&pinned, Some(&public), &[]).await.unwrap();
    assert_eq!(&fetched.component[..], COMPONENT);
    let notes = fetched.notes.join("\n");
    assert!(notes.contains("is not kept: the store of policies has no room"), "{notes}");
    assert!(notes.contains("the signatures of"), "{notes}");
}

#[tokio::test]
async fn with_a_key_only_what_is_signed_is_loaded_also_from_the_store() {
    let directory = directory("signed");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let ((key, public), (other, foreign)) = (pair(), pair());
    let fetcher = fetcher(&directory);
    fetcher.fetch(&pinned, None, &[]).await.unwrap();

    let error = fetcher.fetch(&pinned, Some(&public), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "kept, and not signed: {error}");
    store_signatures(&registry, &pinned, &[good(&key, &pinned)]);
    let fetched = fetcher.fetch(&pinned, Some(&public), &[]).await.unwrap();
    assert!(fetched.is_signed && fetched.was_kept);
    let fetched = fetcher.fetch(&down(&pinned), Some(&public), &[]).await.unwrap();
    assert!(fetched.is_signed, "the signature is kept as well");
    assert!(fetcher.look(&down(&pinned), Some(&public)).is_signed);
    assert!(!fetcher.look(&down(&pinned), Some(&foreign)).is_signed);

    // The key was changed: what is kept is foreign, and the registry is asked for a newer one.
    let error = fetcher.fetch(&down(&pinned), Some(&foreign), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let error = fetcher.fetch(&pinned, Some(&foreign), &[]).await.unwrap_err();
    assert!(matches!(error, Error::ForeignSignature { .. }), "{error}");
    store_signatures(&registry, &pinned, &[good(&key, &pinned), good(&other, &pinned)]);
    fetcher.fetch(&pinned, Some(&foreign), &[]).await.unwrap();
    fetcher.fetch(&down(&pinned), Some(&foreign), &[]).await.unwrap();

    // Somebody wrote into the store: nothing is believed.
    let file = directory.join("signatures").join(format!("{}.json", pinned.digest().hex()));
    for damage in ["", "[]", "{", r#"[{"payload":"!","signature":""}]"#] {
        fs::write(&file, damage).unwrap();
        let error = fetcher.fetch(&down(&pinned), Some(&public), &[]).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
    }
    registry.forget_manifest(&format!("sha256-{}.sig", pinned.digest().hex()));
    let error = fetcher.fetch(&pinned, Some(&public), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_signed_is_not_kept_either() {
    let directory = directory("unsigned");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let (_, public) = pair();
    fetcher(&directory).fetch(&pinned, Some(&public), &[]).await.unwrap_err();
    assert!(!is_kept(&fetcher(&directory), &pinned));
    assert_eq!(fs::read_dir(directory.join("blobs/sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn other_policies_of_the_configuration_do_not_make_room() {
    let directory = directory("needed");
    let registry = Registry::start(Auth::Nobody).await;
    let first = publish(&registry, COMPONENT);
    let second = publish(&registry, &other_component());
    let size: u64 = {
        Fetcher::new(client(), Some(Store::open(&directory, STORE_BYTES).unwrap()))
            .fetch(&first, None, &[])
            .await
            .unwrap();
        let files = fs::read_dir(directory.join("blobs/sha256")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let tight = Fetcher::new(client(), Some(Store::open(&directory, size + 10).unwrap()));
    let fetched = tight.fetch(&second, None, std::slice::from_ref(&first)).await.unwrap();
    assert!(fetched.notes[0].contains("no room"), "{:?}", fetched.notes);
    assert!(is_kept(&tight, &first) && !is_kept(&tight, &second));
    let fetched = tight.fetch(&second, None, &[]).await.unwrap();
    assert!(fetched.notes.is_empty(), "{:?}", fetched.notes);
    assert!(is_kept(&tight, &second) && !is_kept(&tight, &first));
}

#[tokio::test]
async fn an_index_is_kept_with_its_manifest() {
    let directory = directory("index");
    let registry = Registry::start(Auth::Nobody).await;
    let pinned = publish(&registry, COMPONENT);
    let entry = super::descriptor(crate::media::MANIFEST, &pinned.digest().to_string(), 1);
    let json = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
    let digest = registry.put_manifest("all", crate::media::INDEX, &json);
    let index = registry.reference(":all").pin(digest);
    fetcher(&directory).fetch(&index, None, &[]).await.unwrap();
    assert!(fetcher(&directory).fetch(&down(&index), None, &[]).await.unwrap().was_kept);
}

#[tokio::test]
async fn a_registry_that_answers_but_errs_is_no_reason_to_skip_the_signature() {
    let directory = directory("errs");
    let registry =
        Registry::with(|seen| seen.path.ends_with(".sig").then(|| reply(500, &[], ""))).await;
    let pinned = publish(&registry, COMPONENT);
    let (_, public) = pair();
    let error = fetcher(&directory).fetch(&pinned, Some(&public), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error}");
}
