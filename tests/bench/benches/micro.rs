//! What single steps of the server cost: frames, and the embedded store. `cargo bench --package waxwing-bench`.
//!
//! What encrypting and decrypting cost is told by `cargo run --release -p waxwing-e2ee --example measure_groups`, and searching
//! by the benchmarks of waxwing-core.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement fails by panicking")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc};
use waxwing_protocol::{
    ClientFrame, ConversationId, ConversationKind, DeviceId, Entry, EntryBody, Event, Handshake, KdfParameters,
    NewDevice, Request, ServerFrame, Welcome, decode_client_frame, decode_server_frame, encode,
};
use waxwing_server::{
    install::database::NobodyListens,
    store::{
        AccountId, Append, AppendBody, AppendOutcome, NewAccount, NewConversation, SealedVault, SignUpOutcome,
        Store as _,
        sqlite::{SqliteStore, migrate},
    },
};

const CHAT: ConversationId = ConversationId([7; 16]);

fn frames(criterion: &mut Criterion) {
    let payload = || vec![7; 1024].into();
    let request = Request::Send { conversation: CHAT, number: 1000, commits: 1, payload: payload() };
    let send = ClientFrame { id: 1000, request };
    let entry = Entry { seq: 1000, time_ms: 1_700_000_000_000, body: EntryBody::Application(payload()) };
    let event = ServerFrame::Event(Event::Entry { conversation: CHAT, entry });
    let (sent, told) = (encode(&send).0, encode(&event).0);
    let mut group = criterion.benchmark_group("frames of 1 KiB");
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode a send", |b| b.iter(|| encode(black_box(&send))));
    group.bench_function("decode a send", |b| b.iter(|| decode_client_frame(black_box(&sent)).unwrap()));
    group.bench_function("encode an event", |b| b.iter(|| encode(black_box(&event))));
    group.bench_function("decode an event", |b| b.iter(|| decode_server_frame(black_box(&told)).unwrap()));
    group.finish();
}

fn account(name: &str, device: u8) -> NewAccount {
    NewAccount {
        username: name.parse().unwrap(),
        full_name: None,
        email: None,
        kdf: KdfParameters { salt: vec![9; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
        password_hash: vec![0; 128],
        recovery_hash: vec![0; 128],
        sealed: SealedVault { vault: vec![0; 428], password_wrap: vec![0; 88], recovery_wrap: vec![0; 88] },
        identity_key: vec![0; 400],
        backup_key: vec![0; 400],
        device_list: vec![0; 600],
        device: NewDevice { id: DeviceId([device; 16]), authentication_key: vec![device; 32].into() },
        invite: None,
        now_ms: 1,
    }
}

/// A store on disk with one chat of two.
async fn store(folder: &std::path::Path) -> SqliteStore {
    let path = folder.join("waxwing.db");
    migrate(&path).unwrap();
    let store = SqliteStore::open(&path, Arc::new(NobodyListens)).unwrap();
    for (name, device) in [("alice", 1), ("robert", 2)] {
        assert!(matches!(store.create_account(account(name, device)).await.unwrap(), SignUpOutcome::Created(_)));
    }
    let handshake = Handshake {
        commit: vec![0; 800].into(),
        welcome: Some(Welcome { recipients: vec![DeviceId([2; 16])], payload: vec![0; 800].into() }),
        removed: Vec::new(),
        group_info: None,
        roster: None,
    };
    let conversation = NewConversation {
        account: AccountId(1),
        creator: DeviceId([1; 16]),
        id: CHAT,
        kind: ConversationKind::Direct("robert".parse().unwrap()),
        handshake: Some(handshake),
        replaces: None,
        members: 250,
        now_ms: 1,
    };
    store.create_conversation(conversation).await.unwrap();
    store
}

fn appends(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("store of 1 KiB on this disk");
    for count in [1_u64, 64, 1000] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(runtime.block_on(store(folder.path())));
        let mut next = 0;
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("append {count} at once"), |b| {
            let batch = || {
                next += count;
                (next - count + 1..=next).collect::<Vec<_>>()
            };
            let append = |numbers: Vec<u64>| {
                let work = numbers.into_iter().map(|number| {
                    let store = Arc::clone(&store);
                    async move {
                        let body = AppendBody::Application(vec![7; 1024].into());
                        let (device, conversation) = (DeviceId([1; 16]), CHAT);
                        let append =
                            Append { device, conversation, number, commits: 1, body, members: 250, now_ms: number };
                        let outcome = store.append(append).await.unwrap();
                        assert!(matches!(outcome, AppendOutcome::Accepted { .. }));
                    }
                });
                runtime.block_on(async {
                    // Polled in their order, as the server does it.
                    futures_util::future::join_all(work).await;
                    store.acknowledge(DeviceId([1; 16]), CHAT, u64::MAX).await.unwrap();
                    store.acknowledge(DeviceId([2; 16]), CHAT, u64::MAX).await.unwrap();
                });
            };
            b.iter_batched(batch, append, BatchSize::PerIteration);
        });
        runtime.block_on(store.close());
    }
    group.finish();
}

criterion_group!(benches, frames, appends);
criterion_main!(benches);
