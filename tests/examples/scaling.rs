//! What a cluster of many nodes and database shards would do, by simulation: messages arrive at random, wait at their
//! conversation's writing task, and are committed in batches; each commit is told to all nodes.
//!
//! `cargo run --release --package waxwing-tests --example scaling`. Everything that was measured stands in [`Costs`], with where it comes
//! from; the rest follows. It is a model: it knows no network that fails and no disk that stalls.

use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque, env};

/// Seconds.
type Time = f64;

/// What was measured, on two cores (docs/PERFORMANCE.md).
struct Costs {
    /// A database's work for a transaction, whatever it holds: its statements and its fsync.
    commit: Time,
    /// The part of it that is waiting (network, disk) and no work.
    waiting: Time,
    /// A database's work for each message of a transaction.
    row: Time,
    /// A node's work for each message that its people send, delivery at the node included.
    send: Time,
    /// A node's work for each hint of another node.
    hint: Time,
}

const COSTS: Costs = Costs { commit: 0.0012, waiting: 0.0018, row: 0.000_055, send: 0.000_060, hint: 0.000_006 };

/// The most messages of one transaction (the server's `BATCH`).
const BATCH: usize = 256;
/// Writing tasks of one node on one shard (the server's `WRITERS`).
const WRITERS: usize = 4;

struct Plan {
    nodes: usize,
    shards: usize,
    /// Of each database server.
    cores: usize,
    /// Messages a second.
    rate: f64,
}

struct Outcome {
    p50: Time,
    p99: Time,
    batch: f64,
    /// Of a shard's cores.
    database: f64,
    /// Cores of a node.
    node: f64,
    /// Whether messages left as quickly as they came.
    holds: bool,
}

/// SplitMix64: the same run for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize % limit.max(1)
    }
}

/// A writing task: one node's, on one shard.
#[derive(Default)]
struct Task {
    waiting: VecDeque<Time>,
    busy: bool,
}

/// Seconds as an ordered number.
fn nanoseconds(time: Time) -> u64 {
    (time * 1e9) as u64
}

fn simulate(plan: &Plan, seconds: Time) -> Outcome {
    let mut random = Random(20_26);
    let per_shard = plan.nodes * WRITERS;
    let mut tasks: Vec<Task> = (0..plan.shards * per_shard).map(|_| Task::default()).collect();
    let mut busy_on = vec![0_usize; plan.shards];
    let (mut worked, mut batches, mut latencies) = (0.0, 0_usize, Vec::new());
    // What happens when: a message comes (none), or a task has committed.
    let mut events: BinaryHeap<Reverse<(u64, Option<usize>)>> = BinaryHeap::from([Reverse((0, None))]);
    let mut committing: Vec<Vec<Time>> = tasks.iter().map(|_| Vec::new()).collect();
    while let Some(Reverse((at, what))) = events.pop() {
        let now = at as f64 / 1e9;
        if now > seconds {
            break;
        }
        let task = match what {
            None => {
                // Exponential pauses: as many independent people make them.
                let pause = -(1.0 - random.unit()).ln() / plan.rate;
                events.push(Reverse((at + nanoseconds(pause).max(1), None)));
                let (shard, writer) = (random.below(plan.shards), random.below(per_shard));
                let task = shard * per_shard + writer;
                tasks[task].waiting.push_back(now);
                task
            }
            Some(task) => {
                latencies.extend(committing[task].drain(..).map(|came| now - came));
                (tasks[task].busy, busy_on[task / per_shard]) = (false, busy_on[task / per_shard] - 1);
                task
            }
        };
        let (one, shard) = (&mut tasks[task], task / per_shard);
        if one.busy || one.waiting.is_empty() {
            continue;
        }
        let count = one.waiting.len().min(BATCH);
        committing[task].extend(one.waiting.drain(..count));
        (one.busy, busy_on[shard]) = (true, busy_on[shard] + 1);
        let work = COSTS.commit + COSTS.row * count as f64;
        // Tasks that work at the same time share the database's cores.
        let crowd = (busy_on[shard] as f64 / plan.cores as f64).max(1.0);
        (worked, batches) = (worked + work, batches + 1);
        events.push(Reverse((at + nanoseconds(COSTS.waiting + work * crowd), Some(task))));
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
    let left: usize = tasks.iter().map(|task| task.waiting.len()).sum();
    let per_node = plan.rate / plan.nodes as f64;
    Outcome {
        p50: quantile(0.5),
        p99: quantile(0.99),
        batch: latencies.len() as f64 / batches.max(1) as f64,
        database: worked / seconds / plan.shards as f64 / plan.cores as f64,
        node: per_node * COSTS.send + (plan.rate - per_node) * COSTS.hint,
        holds: (left as f64) < plan.rate * 0.2,
    }
}

fn main() {
    let seconds = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10.0);
    println!(
        "| Messages/s | Nodes | Shards | Stored after: p50 | p99 | Messages per commit | Database's cores busy | A node's cores busy |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (rate, nodes, shards) in [
        (1_000.0, 1, 1),
        (1_000.0, 3, 1),
        (10_000.0, 3, 1),
        (10_000.0, 6, 1),
        (10_000.0, 6, 2),
        (10_000.0, 6, 4),
        (30_000.0, 12, 4),
        (100_000.0, 24, 16),
        (300_000.0, 64, 48),
    ] {
        let plan = Plan { nodes, shards, cores: 8, rate };
        let Outcome { p50, p99, batch, database, node, holds } = simulate(&plan, seconds);
        let latency = |time: Time| if holds { format!("{:.1} ms", time * 1e3) } else { "grows".to_owned() };
        println!(
            "| {rate} | {nodes} | {shards} | {} | {} | {batch:.1} | {:.0} % of 8 | {node:.2} |",
            latency(p50),
            latency(p99),
            database * 100.0,
        );
    }
}
