//! Heartbeats over the compact protocol: on one stream, or in datagrams.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use prost::Message as _;
use pulsegate_wire::{
    Answer, Answered, ClientFrame, FromClient, FromServer, ServerFrame, frame_length,
};
use quinn::{Connection, Endpoint, RecvStream};

use super::{Count, Lane, Plan};

/// Time after which a datagram counts as lost, and its heartbeat is sent again.
const LOST: Duration = Duration::from_secs(1);

pub(super) async fn connect(
    address: std::net::SocketAddr,
    endpoint: Option<Endpoint>,
) -> io::Result<Connection> {
    let endpoint = endpoint.ok_or_else(|| io::Error::other("QUIC needs an endpoint"))?;
    endpoint
        .connect(address, "localhost")
        .map_err(io::Error::other)?
        .await
        .map_err(io::Error::other)
}

/// Heartbeats under way, by agent.
struct UnderWay {
    lanes: Vec<Lane>,
    sent: HashMap<String, (usize, Instant, Vec<u8>)>,
    count: Count,
}

impl UnderWay {
    fn new(plan: &Plan) -> Self {
        Self { lanes: plan.lanes(), sent: HashMap::new(), count: Count::default() }
    }

    /// The next frame of a lane, without a length.
    fn next(&mut self, lane: usize) -> Option<Vec<u8>> {
        let heartbeat = self.lanes[lane].next()?;
        let agent = heartbeat.agent_id.clone();
        let frame = ClientFrame { frame: Some(FromClient::Heartbeat(heartbeat.into())) };
        let bytes = frame.encode_to_vec();
        self.sent.insert(agent, (lane, Instant::now(), bytes.clone()));
        Some(bytes)
    }

    /// Takes an answer; the lane that is free again.
    fn answered(&mut self, frame: &[u8]) -> Option<usize> {
        let frame = ServerFrame::decode(frame).ok()?.frame?;
        let FromServer::Answer(answer) = frame else { return None };
        let Answer { agent_id, result, .. } = *answer;
        let (lane, sent, _) = self.sent.remove(&agent_id)?;
        self.count.answered(matches!(result, Some(Answered::Directive(_))), sent);
        Some(lane)
    }
}

pub(super) async fn stream(plan: Plan, endpoint: Option<Endpoint>) -> io::Result<Count> {
    let connection = connect(plan.address, endpoint).await?;
    let (mut sending, mut reading) = connection.open_bi().await?;
    plan.begin().await;
    let mut under_way = UnderWay::new(&plan);
    let mut out = Vec::new();
    for lane in 0..plan.lanes {
        under_way.next(lane).into_iter().for_each(|frame| delimit(&mut out, &frame));
    }
    let mut input = Vec::new();
    while !under_way.sent.is_empty() {
        if !out.is_empty() {
            sending.write_all(&out).await?;
            out.clear();
        }
        read(&mut reading, &mut input).await?;
        let mut done = 0;
        while let Some((begin, length)) = frame_length(&input[done..]).map_err(io::Error::other)? {
            let Some(frame) = input.get(done + begin..done + begin + length) else { break };
            if let Some(lane) = under_way.answered(frame) {
                under_way.next(lane).into_iter().for_each(|frame| delimit(&mut out, &frame));
            }
            done += begin + length;
        }
        input.drain(..done);
    }
    plan.hold().await;
    connection.close(0_u32.into(), b"");
    Ok(under_way.count)
}

fn delimit(out: &mut Vec<u8>, frame: &[u8]) {
    // A Vec takes every length.
    let _ = prost::encode_length_delimiter(frame.len(), out);
    out.extend_from_slice(frame);
}

async fn read(reading: &mut RecvStream, input: &mut Vec<u8>) -> io::Result<()> {
    match reading.read_chunk(64 * 1024, true).await.map_err(io::Error::other)? {
        Some(chunk) => input.extend_from_slice(&chunk.bytes),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(())
}

pub(super) async fn datagrams(plan: Plan, endpoint: Option<Endpoint>) -> io::Result<Count> {
    let connection = connect(plan.address, endpoint).await?;
    plan.begin().await;
    let mut under_way = UnderWay::new(&plan);
    let send = |frame: Vec<u8>| connection.send_datagram(frame.into()).map_err(io::Error::other);
    for lane in 0..plan.lanes {
        under_way.next(lane).map_or(Ok(()), send)?;
    }
    while !under_way.sent.is_empty() {
        match tokio::time::timeout(LOST, connection.read_datagram()).await {
            Ok(datagram) => {
                if let Some(lane) = under_way.answered(&datagram.map_err(io::Error::other)?) {
                    under_way.next(lane).map_or(Ok(()), send)?;
                }
            }
            Err(_) => {
                for (_, _, frame) in under_way.sent.values() {
                    send(frame.clone())?;
                }
                under_way.count.again += under_way.sent.len() as u64;
            }
        }
    }
    plan.hold().await;
    connection.close(0_u32.into(), b"");
    Ok(under_way.count)
}
