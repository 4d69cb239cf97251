//! HTTP/3.

use bytes::{Buf as _, Bytes};
use h3::client::SendRequest;
use http::{Response, Version};
use pulsegate_gateway::server::Gateway;
use quinn::Endpoint;

use super::http::Voice;
use super::wait;
use crate::conformance::client::{Client, Form, Reply};
use crate::quic_client::{address, endpoint};

struct Http3 {
    _endpoint: Endpoint,
    sender: SendRequest<h3_quinn::OpenStreams, Bytes>,
    voice: Voice,
}

pub fn client(gateway: &Gateway, form: Form, token: Option<&str>) -> Box<dyn Client> {
    let address = address(gateway);
    let voice = Voice::new(form, token);
    Box::new(wait(async {
        let endpoint = endpoint(b"h3");
        let connecting = endpoint.connect(address, "localhost").expect("an address");
        let quic = h3_quinn::Connection::new(connecting.await.expect("a connection"));
        let (mut driver, sender) = h3::client::new(quic).await.expect("HTTP/3");
        tokio::spawn(async move { driver.wait_idle().await });
        Http3 { _endpoint: endpoint, sender, voice }
    }))
}

impl Http3 {
    async fn exchange(&mut self, content_type: &str, body: &[u8]) -> Response<Bytes> {
        let mut request = self.voice.request("https", content_type);
        request.headers_mut().remove("host");
        *request.version_mut() = Version::HTTP_3;
        let mut stream = self.sender.send_request(request).await.expect("a stream");
        // The gateway may answer and stop listening before all of it is sent.
        let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
        let _ = stream.finish().await;
        let response = stream.recv_response().await.expect("an answer");
        let mut bytes = Vec::new();
        while let Some(mut data) = stream.recv_data().await.expect("a body") {
            bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        response.map(|()| bytes.into())
    }
}

impl Client for Http3 {
    fn send(&mut self, body: &[u8]) -> Reply {
        self.send_as(self.voice.form.content_type(), body)
    }

    fn send_as(&mut self, content_type: &str, body: &[u8]) -> Reply {
        let answer = wait(self.exchange(content_type, body));
        self.voice.reply(&answer)
    }
}
