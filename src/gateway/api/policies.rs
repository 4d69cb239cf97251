//! `/v1/policies`: uploading policies, trying them, and going back.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as FromState};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use pulsegate_policy::{Share, WHOLE};
use pulsegate_wire::view::{PolicyCanary, PolicyMode, PolicyPage, PolicyView};
use pulsegate_wire::{Code, Problem, limits};
use tokio::sync::Semaphore;

use super::State;
use super::agents::{Id, Params, pairs, read};
use super::journal::blocking;
use super::problem::Refused;
use super::query::Pairs;
use crate::config::COMPONENT_BYTES;
use crate::rollout::{How, Refusal, Which};

/// When whoever finds an upload under way shall come again. Source: chosen; most take less.
const BUSY_RETRY_MS: u64 = 5_000;
/// Most labels that a canary may ask for. Source: as many as an agent may have.
const LABELS: usize = limits::LABELS;

/// Uploads, one at a time: each holds its component in memory, and a core to compile it.
#[derive(Clone, Debug)]
pub struct Uploads(Arc<Semaphore>);

impl Default for Uploads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// `GET /v1/policies`
pub(super) async fn list(
    FromState(state): FromState<State>,
    params: Params,
) -> Result<Json<PolicyPage>, Refused> {
    none(params)?;
    blocking(move || state.rollout.list()).await.map(Json)
}

/// `GET /v1/policies/{name}`
pub(super) async fn show(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<PolicyView>, Refused> {
    none(params)?;
    let name = name(id)?;
    let shown = blocking(move || state.rollout.show(&name)).await?;
    shown.map(Json).ok_or_else(|| refused(&Refusal::Unknown))
}

/// `PUT /v1/policies/{name}`
pub(super) async fn put(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let name = name(id)?;
    let how = how(&pairs(params)?)?;
    check_media_type(&headers)?;
    let Ok(turn) = state.uploads.0.clone().try_acquire_owned() else {
        let problem = Problem::new(Code::Overloaded, "another policy is being uploaded");
        return Err(problem.with_retry_after_ms(BUSY_RETRY_MS).into());
    };
    let component: Arc<[u8]> = collect(&headers, body).await?.into();
    let now = state.clock.wall_ms(state.clock.read().raw_ms);
    // Whoever does not wait for the answer finds it at `GET`: what was uploaded whole is not lost.
    let uploading = tokio::spawn(blocking(move || {
        let _turn = turn;
        state.rollout.upload(&name, &component, how, now)
    }));
    let uploaded = uploading.await.map_err(|error| {
        tracing::error!(%error, "an upload could not be handled: a bug");
        Refused::new(Code::Internal, "the cause stands in the gateway's log")
    })?;
    let (is_new, view) = uploaded?.map_err(|refusal| refused(&refusal))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view)).into_response())
}

/// `DELETE /v1/policies/{name}`
pub(super) async fn delete(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<StatusCode, Refused> {
    none(params)?;
    let name = name(id)?;
    let deleted = blocking(move || state.rollout.delete(&name)).await?;
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&refusal))
}

/// `POST /v1/policies/{name}/mode`
pub(super) async fn mode(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PolicyView>, Refused> {
    none(params)?;
    let name = name(id)?;
    let PolicyMode { mode, revision } = read(&headers, body).await?.unwrap_or_default();
    let enforce = match mode.as_str() {
        "enforce" => true,
        "shadow" => false,
        _ => return Err(Refused::field("mode", "must be enforce or shadow")),
    };
    let which = which(revision);
    operate(move || state.rollout.set_mode(&name, &which, enforce)).await
}

/// `POST /v1/policies/{name}/canary`
pub(super) async fn canary(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PolicyView>, Refused> {
    none(params)?;
    let name = name(id)?;
    let PolicyCanary { percent, labels, revision } =
        read(&headers, body).await?.unwrap_or_default();
    let share = match (percent, labels) {
        (Some(percent), None) => percentage("percent", percent)?,
        (None, Some(labels)) => labelled("labels", labels)?,
        _ => return Err(Refused::field("percent", "either percent or labels must be given")),
    };
    let which = which(revision);
    operate(move || state.rollout.set_canary(&name, &which, share)).await
}

/// `POST /v1/policies/{name}/rollback`
pub(super) async fn rollback(
    FromState(state): FromState<State>,
    id: Id,
    params: Params,
) -> Result<Json<PolicyView>, Refused> {
    none(params)?;
    let name = name(id)?;
    operate(move || state.rollout.roll_back(&name)).await
}

async fn operate(
    work: impl FnOnce() -> Result<PolicyView, Refusal> + Send + 'static,
) -> Result<Json<PolicyView>, Refused> {
    blocking(work).await?.map(Json).map_err(|refusal| refused(&refusal))
}

fn none(params: Params) -> Result<(), Refused> {
    match pairs(params)?.first() {
        None => Ok(()),
        Some((name, _)) => Err(Refused::field(name, "unknown parameter; there are none")),
    }
}

fn name(id: Id) -> Result<String, Refused> {
    let Ok(Path(name)) = id else {
        return Err(Refused::field("name", "must be UTF-8"));
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > limits::NAME_BYTES || !name.bytes().all(allowed) {
        let problem = Problem::on_field("name", "must be 1 to 63 of letters, digits and . _ -");
        return Err(problem.with_limit(limits::NAME_BYTES as f64).into());
    }
    Ok(name)
}

fn which(revision: Option<String>) -> Which {
    revision.map_or(Which::Current, Which::Called)
}

/// What an upload is to become: in shadow, where nothing else is said.
fn how(pairs: &Pairs) -> Result<How, Refused> {
    let (mut mode, mut percent, mut labels) = (None, None, BTreeMap::new());
    for (name, value) in pairs {
        match name.as_str() {
            "mode" => match value.as_str() {
                "enforce" => mode = Some(How::Enforce),
                "shadow" => mode = Some(How::Trial(Share::Shadow)),
                _ => return Err(Refused::field(name, "must be enforce or shadow")),
            },
            "canary_percent" => {
                let number = value.parse().unwrap_or(f64::NAN);
                percent = Some(percentage(name, number)?);
            }
            "canary_label" => {
                let Some((label, value)) = value.split_once(':') else {
                    return Err(Refused::field(name, "must be key:value"));
                };
                labels.insert(label.to_owned(), value.to_owned());
            }
            _ => {
                let known = "unknown parameter; known: mode, canary_percent, canary_label";
                return Err(Refused::field(name, known));
            }
        }
    }
    let labels = if labels.is_empty() { None } else { Some(labelled("canary_label", labels)?) };
    match (mode, percent, labels) {
        (mode, None, None) => Ok(mode.unwrap_or(How::Trial(Share::Shadow))),
        (None, Some(share), None) | (None, None, Some(share)) => Ok(How::Trial(share)),
        _ => {
            let detail = "only one of mode, canary_percent and canary_label may be given";
            Err(Refused::field("mode", detail))
        }
    }
}

fn percentage(field: &str, percent: f64) -> Result<Share, Refused> {
    let hundredths = (percent * 100.0).round();
    if !(1.0..=f64::from(WHOLE)).contains(&hundredths) {
        let problem = Problem::on_field(field, "must be from 0.01 to 100");
        return Err(problem.with_limit(100.0).into());
    }
    Ok(Share::Percent(hundredths as u16))
}

fn labelled(field: &str, labels: BTreeMap<String, String>) -> Result<Share, Refused> {
    if labels.is_empty() || labels.len() > LABELS {
        let problem = Problem::on_field(field, &format!("must be 1 to {LABELS} labels"));
        return Err(problem.with_limit(LABELS as f64).into());
    }
    Ok(Share::Labels(labels))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refused> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = content_type.to_str().ok().and_then(|text| text.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(essence.as_str(), "application/wasm" | "application/octet-stream") {
        return Ok(());
    }
    Err(Refused::new(Code::MediaType, "the body must be a component: application/wasm"))
}

/// The body, as far as it may go. One that says that it is too large is not read at all.
async fn collect(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Refused> {
    let too_large = || {
        let problem = Problem::new(Code::TooLarge, "a component may have so many bytes");
        Refused::from(problem.with_limit(COMPONENT_BYTES as f64))
    };
    let most = usize::try_from(COMPONENT_BYTES).unwrap_or(usize::MAX);
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > COMPONENT_BYTES) {
        return Err(too_large());
    }
    let mut component = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refused::new(Code::Malformed, "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            if component.len() + data.len() > most {
                return Err(too_large());
            }
            component.extend_from_slice(&data);
        }
    }
    if component.is_empty() {
        return Err(Refused::new(Code::Malformed, "the body must be a component; it is empty"));
    }
    Ok(component)
}

fn refused(refusal: &Refusal) -> Refused {
    let text = refusal.to_string();
    match refusal {
        Refusal::Unknown => Refused::new(Code::NotFound, &text),
        Refusal::Revision(_) => Refused::field("revision", &text),
        Refusal::Conflict(_) => Refused::new(Code::PolicyConflict, &text),
        Refusal::Policy(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Refused::new(Code::PolicyRefused, &format!("{text}{cause}"))
        }
        Refusal::Unloadable(_) => Refused::new(Code::Gone, &text),
        Refusal::Store(_) => {
            let problem = Problem::new(Code::JournalUnavailable, &text);
            problem.with_retry_after_ms(BUSY_RETRY_MS).into()
        }
        Refusal::Full { most, .. } => {
            Problem::new(Code::TooLarge, &text).with_limit(*most as f64).into()
        }
        Refusal::Names => {
            let most = crate::rollout::NAMES as f64;
            Problem::new(Code::TooLarge, &text).with_limit(most).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<How, String> {
        let pairs = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        how(&pairs.collect()).map_err(|refused| {
            let problem = refused.into_problem();
            problem.field.clone().unwrap_or_default()
        })
    }

    #[test]
    fn an_upload_goes_into_shadow_unless_something_else_is_said() {
        assert_eq!(asked(&[]), Ok(How::Trial(Share::Shadow)));
        assert_eq!(asked(&[("mode", "shadow")]), Ok(How::Trial(Share::Shadow)));
        assert_eq!(asked(&[("mode", "enforce")]), Ok(How::Enforce));
        assert_eq!(asked(&[("canary_percent", "2.5")]), Ok(How::Trial(Share::Percent(250))));
        let labels = BTreeMap::from([("ring".to_owned(), "0:a".to_owned())]);
        let share = Share::Labels(labels);
        assert_eq!(asked(&[("canary_label", "ring:0:a")]), Ok(How::Trial(share)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        for (pairs, field) in [
            (vec![("mode", "audit")], "mode"),
            (vec![("mode", "enforce"), ("canary_percent", "1")], "mode"),
            (vec![("canary_percent", "1"), ("canary_label", "a:b")], "mode"),
            (vec![("canary_percent", "0")], "canary_percent"),
            (vec![("canary_percent", "100.01")], "canary_percent"),
            (vec![("canary_percent", "-1")], "canary_percent"),
            (vec![("canary_percent", "NaN")], "canary_percent"),
            (vec![("canary_percent", "many")], "canary_percent"),
            (vec![("canary_label", "ring")], "canary_label"),
            (vec![("force", "true")], "force"),
        ] {
            assert_eq!(asked(&pairs), Err(field.to_owned()), "{pairs:?}");
        }
    }
}
