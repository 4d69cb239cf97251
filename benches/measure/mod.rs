//! What is measured, and how it is told.

#[allow(dead_code, reason = "shared with the bench `transports`, which needs more of it")]
mod child;
mod habits;
mod watchers;

use std::io;
use std::time::Duration;

use crate::bare::Answer;
use crate::load::{self, Batches, Beats, Pace, Tally};
use child::{Child, Kind};
use habits::Load;
use watchers::Watchers;

/// How much to do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: u64,
    round: Pace,
    /// Agents that share the connections, as behind a relay; before them four a connection beat.
    agents: u64,
    connections: usize,
    /// Heartbeats of a batch.
    batch: usize,
    /// Whether wrk may make the load.
    wrk: bool,
    open_requests: f64,
    /// Streams of events that are open beside heartbeats.
    watchers: usize,
    /// Heartbeats beside each misbehaving policy.
    habits: Load,
}

impl Plan {
    /// A few hundred requests: shows that everything works.
    const TINY: Self = Self {
        rounds: 1,
        round: Pace::Count(200),
        agents: 50,
        connections: 4,
        batch: 100,
        wrk: false,
        open_requests: 100.0,
        watchers: 20,
        habits: Load::TINY,
    };
    /// The measurement.
    const FULL: Self = Self {
        rounds: 5,
        round: Pace::Closed(Duration::from_secs(5)),
        agents: 10_000,
        connections: 64,
        batch: 1_000,
        wrk: true,
        open_requests: 500_000.0,
        watchers: 10_000,
        habits: Load::FULL,
    };
}

/// First sequence of all; every run begins a new range, with as many digits.
const FIRST_SEQUENCE: u64 = 1_000_000_000;
const SEQUENCES_A_RUN: u64 = 10_000_000;

/// Processor time and rate of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    rate: f64,
    cpu_us: f64,
}

pub(crate) fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if let Some(served) = Kind::serve(&args) {
        return served;
    }
    let mut plan = if has("--bench") && !has("--test") { Plan::FULL } else { Plan::TINY };
    plan.wrk &= !has("--own-generator");
    let mut bench = Bench { plan, sequence: FIRST_SEQUENCE };
    if has("--calibrate") {
        bench.calibrate()
    } else if has("--watchers") {
        bench.watched_alone()
    } else if has("--habits") {
        bench.habits(bench.plan.habits)
    } else {
        bench.measure()
    }
}

struct Bench {
    plan: Plan,
    sequence: u64,
}

impl Bench {
    fn measure(&mut self) -> io::Result<()> {
        watchers::raise_limit()?;
        let gateway = Child::gateway()?;
        let answer = gateway.answer()?;
        let bare = Child::bare(Kind::Bare, &answer)?;
        let multi = Child::bare(Kind::BareMulti, &answer)?;
        let servers = [&gateway, &bare, &multi];
        let mut rate = 0.0;
        for agents in [4 * self.plan.connections as u64, self.plan.agents] {
            self.plan.agents = agents;
            let medians = self.closed(&servers)?;
            let [gateway_round, bare_round, multi_round] = medians[..] else { return Ok(()) };
            println!(
                "gateway: {:.1} % of bare's rate, bare + {:.2} us; {:.1} % of bare-multi's rate\n",
                100.0 * gateway_round.rate / bare_round.rate,
                gateway_round.cpu_us - bare_round.cpu_us,
                100.0 * gateway_round.rate / multi_round.rate
            );
            rate = gateway_round.rate;
        }
        self.open(&servers, rate / 2.0)?;
        self.batches(&gateway)?;
        self.watched(&gateway)?;
        self.habits(self.plan.habits)
    }

    /// Bare servers only, with both generators: says what the generators can do.
    fn calibrate(&mut self) -> io::Result<()> {
        let bare = Child::bare(Kind::Bare, &Answer::default())?;
        let multi = Child::bare(Kind::BareMulti, &Answer::default())?;
        for wrk in [true, false] {
            self.plan.wrk = wrk;
            println!("load from {}", if wrk { "wrk" } else { "our own generator" });
            let medians = self.closed(&[&bare, &multi])?;
            self.open(&[&bare, &multi], medians[0].rate / 2.0)?;
        }
        Ok(())
    }

    /// A range of sequences that nobody has used.
    fn sequence(&mut self) -> u64 {
        self.sequence += SEQUENCES_A_RUN;
        self.sequence
    }

    /// One run of single heartbeats; a bad answer is a failure.
    fn beats(&mut self, server: &Child, pace: Pace) -> io::Result<Tally> {
        let (plan, sequence) = (self.plan, self.sequence());
        let from_wrk = match pace {
            Pace::Closed(length) if plan.wrk => {
                load::wrk(server.address, plan.connections, length, plan.agents, sequence)?
            }
            _ => None,
        };
        let tally = match from_wrk {
            Some(tally) => tally,
            None => {
                let mut beats = Beats::new(plan.agents, sequence);
                load::run(server.address, plan.connections, pace, &mut beats)?
            }
        };
        all_good(server, tally)
    }

    /// Alternating rounds as fast as answers come; returns the medians.
    fn closed(&mut self, servers: &[&Child]) -> io::Result<Vec<Round>> {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); servers.len()];
        for server in servers {
            self.beats(server, Pace::Count(2 * self.plan.agents))?;
        }
        for _ in 0..self.plan.rounds {
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                let before = server.cpu()?;
                let tally = self.beats(server, self.plan.round)?;
                let cpu = server.cpu()? - before;
                let cpu_us = cpu.as_secs_f64() * 1e6 / tally.good as f64;
                rounds.push(Round { rate: tally.rate(), cpu_us });
            }
        }
        println!(
            "HTTP/1.1, closed loop, {} connections, {} agents, {} rounds: median [range]",
            self.plan.connections, self.plan.agents, self.plan.rounds
        );
        println!("{:<12} {:>28} {:>28}", "server", "heartbeats/s", "server CPU us each");
        let mut medians = Vec::new();
        for (server, rounds) in servers.iter().zip(&rounds) {
            let rate = Spread::of(rounds.iter().map(|round| round.rate));
            let cpu = Spread::of(rounds.iter().map(|round| round.cpu_us));
            println!("{:<12} {:>28} {:>28}", server.kind.name(), rate.show(0), cpu.show(2));
            medians.push(Round { rate: rate.median, cpu_us: cpu.median });
        }
        println!();
        Ok(medians)
    }

    /// Fixed rate; latency from the instant at which each request was due.
    fn open(&mut self, servers: &[&Child], rate: f64) -> io::Result<()> {
        let seconds = self.plan.open_requests / rate;
        println!("open loop at {rate:.0} heartbeats/s for {seconds:.1} s: latency from due, us");
        println!("{:<12} {:>8} {:>8} {:>8} {:>8}", "server", "p50", "p99", "p99.9", "max");
        for server in servers {
            let mut tally = self.beats(server, Pace::Open(rate, self.plan.open_requests as u64))?;
            let shares = [0.5, 0.99, 0.999, 1.0].map(|share| tally.percentile(share).as_micros());
            let [p50, p99, p999, max] = shares;
            println!("{:<12} {p50:>8} {p99:>8} {p999:>8} {max:>8}", server.kind.name());
        }
        println!();
        Ok(())
    }

    /// What watchers cost, and nothing else.
    fn watched_alone(&mut self) -> io::Result<()> {
        watchers::raise_limit()?;
        let gateway = Child::gateway()?;
        self.beats(&gateway, Pace::Count(2 * self.plan.agents))?;
        self.watched(&gateway)
    }

    /// Alternating rounds: without watchers, with some to whom nothing is sent, and with some to
    /// whom each of about ten events a second is sent.
    fn watched(&mut self, gateway: &Child) -> io::Result<()> {
        let mut rounds: [Vec<Round>; 3] = Default::default();
        let (mut count, mut caused, mut seen) = (0, 0, 0);
        for _ in 0..self.plan.rounds {
            for (kind, rounds) in rounds.iter_mut().enumerate() {
                let wanted = if kind == 0 { 0 } else { self.plan.watchers };
                let watchers = Watchers::open(gateway.address, wanted, kind == 2)?;
                count = watchers.count;
                let before = gateway.cpu()?;
                let tally = self.beats(gateway, self.plan.round)?;
                let cpu = gateway.cpu()? - before;
                let cpu_us = cpu.as_secs_f64() * 1e6 / tally.good as f64;
                rounds.push(Round { rate: tally.rate(), cpu_us });
                let (caused_now, seen_now) = watchers.close()?;
                (caused, seen) = (caused + caused_now, seen + seen_now);
            }
        }
        println!("\nbeside {count} watchers, {} rounds: median [range]", self.plan.rounds);
        println!("{:<12} {:>28} {:>28}", "watchers", "heartbeats/s", "server CPU us each");
        for (name, rounds) in ["none", "untold", "told"].iter().zip(&rounds) {
            let rate = Spread::of(rounds.iter().map(|round| round.rate));
            let cpu = Spread::of(rounds.iter().map(|round| round.cpu_us));
            println!("{name:<12} {:>28} {:>28}", rate.show(0), cpu.show(2));
        }
        println!("{caused} events were told about {seen} times\n");
        Ok(())
    }

    /// Protobuf batches, two at a time: heartbeats for each second of the server's processor.
    fn batches(&mut self, gateway: &Child) -> io::Result<()> {
        let size = self.plan.batch;
        let mut figures = Vec::new();
        let mut rates = Vec::new();
        for _ in 0..=self.plan.rounds {
            let sequence = self.sequence();
            let mut batches = Batches::new(self.plan.agents.max(size as u64), size, sequence);
            let before = gateway.cpu()?;
            let pace = match self.plan.round {
                Pace::Count(_) => Pace::Count(20),
                pace => pace,
            };
            let tally = all_good(gateway, load::run(gateway.address, 2, pace, &mut batches)?)?;
            let cpu = gateway.cpu()? - before;
            figures.push(tally.good as f64 * size as f64 / cpu.as_secs_f64());
            rates.push(tally.rate() * size as f64);
        }
        // The first round makes the agents known; it is not counted.
        let per_core = Spread::of(figures.into_iter().skip(1));
        let rate = Spread::of(rates.into_iter().skip(1));
        println!(
            "protobuf batches of {size}, policies on, {} rounds: median [range]",
            self.plan.rounds
        );
        println!("heartbeats a second of server CPU {}", per_core.show(0));
        println!("heartbeats/s                      {}", rate.show(0));
        Ok(())
    }
}

fn all_good(server: &Child, tally: Tally) -> io::Result<Tally> {
    if tally.bad == 0 && tally.good > 0 {
        return Ok(tally);
    }
    let name = server.kind.name();
    Err(io::Error::other(format!("{name}: {} of {} answers were bad", tally.bad, tally.good)))
}

/// A median and what lies around it.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        Self { low: at(0), median: at(last / 2), high: at(last) }
    }

    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} [{:.digits$} - {:.digits$}]", self.median, self.low, self.high)
    }
}
