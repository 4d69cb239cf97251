//! What is measured over all transports, and how it is told.

use std::io;
use std::time::Duration;

use crate::bare::Answer;
use crate::child::{Child, Kind};
use crate::fleet::{self, Count, Shape, Until, Wire};

/// How much to do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    until: Until,
    shapes: [Shape; 3],
    /// Connections that are open at once, and one after another.
    idle: usize,
    one_by_one: usize,
}

impl Plan {
    /// A few heartbeats: shows that everything works.
    const TINY: Self = Self {
        rounds: 1,
        until: Until::Each(3),
        shapes: [
            Shape { connections: 1, lanes: 4 },
            Shape { connections: 2, lanes: 1 },
            Shape { connections: 3, lanes: 1 },
        ],
        idle: 3,
        one_by_one: 6,
    };
    /// The measurement.
    const FULL: Self = Self {
        rounds: 3,
        until: Until::Over(Duration::from_secs(3)),
        shapes: [
            Shape { connections: 1, lanes: 64 },
            Shape { connections: 64, lanes: 1 },
            Shape { connections: 1_000, lanes: 1 },
        ],
        idle: 5_000,
        one_by_one: 100_000,
    };
}

/// Connections at a time, of those that come one after another.
const AT_A_TIME: usize = 200;
/// Looks at the memory while they come.
const LOOKS: usize = 10;
/// First sequence of all; every run begins a new range.
const FIRST_SEQUENCE: u64 = 1_000_000_000;
const SEQUENCES_A_RUN: u64 = 10_000_000;

pub(crate) fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let behind = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1);
    if let Some(served) = Kind::serve(&args) {
        return served;
    }
    let is_full = has("--bench") && !has("--test");
    let plan = if is_full { Plan::FULL } else { Plan::TINY };
    allow_many_files();
    let mut bench = Bench::start(plan)?;
    if has("--connections") || !is_full {
        bench.idle()?;
        bench.one_by_one()?;
    }
    if !has("--connections") || !is_full {
        bench.rates(behind("--wire").map(String::as_str))?;
    }
    Ok(())
}

/// Thousands of connections are as many open files, here and in the servers.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where it is not allowed, connecting says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

struct Bench {
    plan: Plan,
    sequence: u64,
    answer: Answer,
    gateway: Child,
    secure: Child,
    bare: Child,
    bare_http2: Child,
    bare_quic: Child,
}

impl Bench {
    fn start(plan: Plan) -> io::Result<Self> {
        let gateway = Child::gateway()?;
        let answer = gateway.answer()?;
        Ok(Self {
            plan,
            sequence: FIRST_SEQUENCE,
            secure: Child::secure_gateway()?,
            bare: Child::bare(Kind::Bare, &answer)?,
            bare_http2: Child::bare(Kind::BareHttp2, &answer)?,
            bare_quic: Child::bare(Kind::BareQuic, &answer)?,
            gateway,
            answer,
        })
    }

    /// The gateway and its bare counterpart; there is none over TLS.
    fn servers(&self, wire: Wire) -> Vec<&Child> {
        match wire {
            Wire::Http1 => vec![&self.gateway, &self.bare],
            Wire::Http2 => vec![&self.gateway, &self.bare_http2],
            Wire::Https => vec![&self.secure],
            Wire::Http3 | Wire::Stream | Wire::Datagram => vec![&self.secure, &self.bare_quic],
        }
    }

    /// All transports, or the one of this name.
    fn rates(&mut self, only: Option<&str>) -> io::Result<()> {
        println!("closed loops, {} rounds: median [range]", self.plan.rounds);
        println!(
            "{:<9} {:>11} {:<9} {:>22} {:>20} {:>7} {:>7} {:>7}",
            "wire",
            "connections",
            "server",
            "heartbeats/s",
            "server CPU us each",
            "p50 us",
            "p99 us",
            "again"
        );
        for wire in [Wire::Http1, Wire::Http2, Wire::Http3, Wire::Stream, Wire::Datagram] {
            let shapes = self.plan.shapes;
            for shape in shapes.into_iter().filter(|_| only.is_none_or(|name| name == wire.name()))
            {
                self.rate(wire, shape)?;
            }
        }
        Ok(())
    }

    /// Alternating rounds of one transport.
    fn rate(&mut self, wire: Wire, shape: Shape) -> io::Result<()> {
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for round in 0..=self.plan.rounds {
            for (server, rounds) in rounds.iter_mut().enumerate() {
                self.sequence += SEQUENCES_A_RUN;
                let child = self.servers(wire)[server];
                let until = if round == 0 { Until::Each(64) } else { self.plan.until };
                let before = child.cpu()?;
                let count = fleet::run(wire, child.address, shape, until, self.sequence, || ())?;
                let cpu = child.cpu()? - before;
                // The first round makes the agents known.
                if round > 0 {
                    rounds.push(Round::of(child, wire, count, cpu)?);
                }
            }
        }
        let lanes = if wire == Wire::Http1 { 1 } else { shape.lanes };
        let name = format!("{} x {lanes}", shape.connections);
        for (place, rounds) in rounds.iter_mut().enumerate() {
            let child = self.servers(wire)[place];
            let kind = if child.kind == Kind::Gateway { "gateway" } else { "bare" };
            rounds.sort_by(|left, right| left.rate.total_cmp(&right.rate));
            let middle = &rounds[rounds.len() / 2];
            let range = |of: fn(&Round) -> f64| {
                let (mut low, mut high) = (f64::MAX, 0.0_f64);
                for round in rounds.iter() {
                    (low, high) = (low.min(of(round)), high.max(of(round)));
                }
                (low, high)
            };
            let (slow, fast) = range(|round| round.rate);
            let (little, much) = range(|round| round.cpu_us);
            let rate = format!("{:.0} [{slow:.0}-{fast:.0}]", middle.rate);
            let cpu = format!("{:.2} [{little:.2}-{much:.2}]", middle.cpu_us);
            println!(
                "{:<9} {name:>11} {kind:<9} {rate:>22} {cpu:>20} {:>7} {:>7} {:>7}",
                wire.name(),
                middle.p50,
                middle.p99,
                middle.again
            );
        }
        Ok(())
    }

    /// Memory of a connection that has sent one heartbeat and waits.
    fn idle(&mut self) -> io::Result<()> {
        println!(
            "{} idle connections, each after one heartbeat: resident KiB each",
            self.plan.idle
        );
        for wire in [Wire::Http1, Wire::Https, Wire::Http3, Wire::Stream, Wire::Datagram] {
            for place in 0..self.servers(wire).len() {
                // A server of its own, whose memory nothing else has touched.
                let child = self.fresh(wire, place)?;
                let shape = Shape { connections: AT_A_TIME.min(self.plan.idle), lanes: 1 };
                fleet::run(wire, child.address, shape, Until::Each(1), self.sequence, || ())?;
                self.sequence += SEQUENCES_A_RUN;
                let before = child.resident_kib()?;
                let shape = Shape { connections: self.plan.idle, lanes: 1 };
                let mut held = Ok(0.0);
                fleet::run(wire, child.address, shape, Until::Each(1), self.sequence, || {
                    std::thread::sleep(Duration::from_millis(500));
                    held = child.resident_kib();
                })?;
                let each = (held? - before) / self.plan.idle as f64;
                println!("{:<9} {:<9} {each:>6.1}", wire.name(), child.kind.name());
            }
        }
        Ok(())
    }

    fn fresh(&self, wire: Wire, place: usize) -> io::Result<Child> {
        match (wire, place) {
            (Wire::Http1, 0) => Child::gateway(),
            (Wire::Http1, _) => Child::bare(Kind::Bare, &self.answer),
            (_, 0) => Child::secure_gateway(),
            (_, _) => Child::bare(Kind::BareQuic, &self.answer),
        }
    }

    /// Memory while connections come and go.
    fn one_by_one(&mut self) -> io::Result<()> {
        let total = self.plan.one_by_one;
        println!(
            "{total} connections, {AT_A_TIME} at a time: resident MiB after each tenth, and what \
             one of the second half left behind"
        );
        for wire in [Wire::Stream, Wire::Http3] {
            for place in 0..self.servers(wire).len() {
                let child = self.fresh(wire, place)?;
                let line = self.one_after_another(wire, &child)?;
                println!("{:<9} {:<9} {line}", wire.name(), child.kind.name());
            }
        }
        Ok(())
    }

    fn one_after_another(&mut self, wire: Wire, child: &Child) -> io::Result<String> {
        let total = self.plan.one_by_one;
        let shape = Shape { connections: AT_A_TIME.min(total), lanes: 1 };
        let mut held = Vec::new();
        for _ in 0..LOOKS {
            for _ in 0..(total / LOOKS).div_ceil(shape.connections) {
                self.sequence += 64;
                fleet::run(wire, child.address, shape, Until::Each(1), self.sequence, || ())?;
            }
            held.push(child.resident_kib()?);
        }
        let line: Vec<_> = held.iter().map(|kib| format!("{:.1}", kib / 1_024.0)).collect();
        // What is kept at all is kept by then: sessions to come back to, buffers of the allocator.
        let (first, second) = held.split_at(LOOKS / 2);
        let middle = |half: &[f64]| half.iter().sum::<f64>() / half.len() as f64;
        let each = (middle(second) - middle(first)) * 1_024.0 / (total / 2) as f64;
        Ok(format!("{}   {each:+.0} bytes", line.join(" ")))
    }
}

/// One round.
struct Round {
    rate: f64,
    cpu_us: f64,
    p50: u32,
    p99: u32,
    again: u64,
}

impl Round {
    fn of(child: &Child, wire: Wire, mut count: Count, cpu: Duration) -> io::Result<Self> {
        if count.bad > 0 || count.good == 0 {
            let (name, wire) = (child.kind.name(), wire.name());
            let text = format!("{name} over {wire}: {} of {} were bad", count.bad, count.good);
            return Err(io::Error::other(text));
        }
        count.latencies.sort_unstable();
        let last = count.latencies.len() - 1;
        let at = |share: f64| count.latencies[(last as f64 * share).ceil() as usize];
        Ok(Self {
            rate: count.good as f64 / count.took.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / count.good as f64,
            p50: at(0.5),
            p99: at(0.99),
            again: count.again,
        })
    }
}
